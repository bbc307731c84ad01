/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import java.util.List;

/**
 * The interrupt that KVM lost until 2019, as steps to be played on a descriptor with and without the repair.
 *
 * <p>Source: the thread "KVM: x86: Sync the pending Posted-Interrupts" of January 2019, and what came of it, commit
 * c112b5f50232, "KVM: x86: Recompute PID.ON when clearing PID.SN". Immutable.
 */
public final class LostInterrupt2019 {
    /** The vector that is lost. */
    public static final int VECTOR = 0x41;

    private LostInterrupt2019() {}

    /** What a step does. */
    @FunctionalInterface
    public interface Action {
        /**
         * @param irr the vCPU's, four words
         * @return what is to be seen of it beside the descriptor
         */
        String on(PiDescriptor descriptor, SharedWords irr);
    }

    /**
     * One step of the order.
     *
     * @param repair whether it is the repair, which the unrepaired kernel does not do
     */
    public record Step(String actor, String what, boolean repair, Action action) {}

    /** The losing order. Without the step that is the repair it loses, with it the vector arrives. */
    public static List<Step> steps() {
        return List.of(
                step("vcpu", "is preempted: sets SN", (pid, irr) -> {
                    pid.put();
                    return "";
                }),
                step(
                        "device",
                        "posts 0x41: sets PIR, not ON (SN is 1)",
                        (pid, irr) -> pid.post(VECTOR, false) == 0 ? "nobody notified" : "notified"),
                step("vcpu", "runs again: clears SN", (pid, irr) -> {
                    pid.clearSuppress();
                    return "";
                }),
                new Step("vcpu", "sets ON if PIR is not empty", true, (pid, irr) -> {
                    pid.restoreOn();
                    return "<- the repair";
                }),
                step(
                        "vcpu",
                        "enters the guest: syncs if ON",
                        (pid, irr) -> pid.sync(irr, 0) ? "0x41 taken" : "ON clear: no look"),
                step(
                        "sender",
                        "requests 0x41 too: sets PIR, then ON",
                        (pid, irr) -> pid.deliver(VECTOR) ? "notified" : "was set: stops"),
                step(
                        "vcpu",
                        "looks again: syncs if ON",
                        (pid, irr) -> pid.sync(irr, 0) ? "0x41 taken" : "ON clear: no look"));
    }

    private static Step step(String actor, String what, Action action) {
        return new Step(actor, what, false, action);
    }

    /**
     * A repair that was talked of.
     *
     * @param loses whether some order of two senders and a vCPU still loses an interrupt
     * @param why one sentence
     */
    public record Repair(String what, boolean loses, String why) {}

    /** What was proposed, in the order it was, and what was done. */
    public static List<Repair> repairs() {
        return List.of(
                new Repair("sync tests ON only", true, "the bug: while SN is set a device's request has no ON"),
                new Repair(
                        "sync tests PIR only",
                        true,
                        "as first posted: a sync between a sender's PIR and its ON leaves a stale ON, and then nobody is"
                                + " told"),
                new Repair("sync tests PIR or ON", false, "a stale ON is cleared at the next entry"),
                new Repair(
                        "one 16-bit store clears SN and sets ON",
                        false,
                        "the counter-proposal: after each load the next sync looks"),
                new Repair(
                        "ON set if PIR is not empty, then SN cleared",
                        true,
                        "a device posts between the two, without ON"),
                new Repair(
                        "SN cleared, then ON set if PIR is not empty",
                        false,
                        "merged: a device sees SN clear and sets ON, or had set PIR before and is seen"));
    }
}
