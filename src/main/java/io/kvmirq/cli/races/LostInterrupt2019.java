/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.cli.frame.Hex;
import java.util.List;

/**
 * The interrupt that KVM lost until 2019, in steps. They are played with and without the repair; the rest is today's
 * kernel.
 *
 * <p>Source: the thread "KVM: x86: Sync the pending Posted-Interrupts" of January 2019, and the commit that followed,
 * c112b5f50232, "KVM: x86: Recompute PID.ON when clearing PID.SN".
 */
final class LostInterrupt2019 implements Race {
    /** The vector that is lost. */
    static final int VECTOR = 0x41;

    @Override
    public String name() {
        return "lost-interrupt-2019";
    }

    @Override
    public String summary() {
        return "KVM until 2019 loses an interrupt that a device posts while the vCPU is preempted (VT-d posting).";
    }

    /** One kernel: the descriptor of a loaded vCPU with an empty PIR, and the IRR of the vCPU. */
    static final class Side {
        private final SharedWords words = SharedWords.of(new long[PiDescriptor.WORDS]);
        private final SharedWords irr = SharedWords.of(new long[PiDescriptor.PIR_WORDS]);
        private final PiDescriptor descriptor = PiDescriptor.over(words, 0);

        Side() {
            descriptor.reset();
            descriptor.load(0);
        }

        boolean isOn() {
            return descriptor.isOn();
        }

        boolean isSuppressed() {
            return descriptor.isSuppressed();
        }

        boolean isRequested() {
            return has(words);
        }

        boolean isInIrr() {
            return has(irr);
        }

        private static boolean has(SharedWords vectors) {
            return (vectors.get(VECTOR / Long.SIZE) >>> VECTOR & 1) != 0;
        }
    }

    /** What a step does. */
    @FunctionalInterface
    interface Action {
        /** @return the text to print beside the descriptor */
        String on(Side side);
    }

    /**
     * One step of the order.
     *
     * @param repair whether the step is the repair, which the kernel without it leaves out
     */
    record Step(String actor, String what, boolean repair, Action action) {}

    /** The losing order. With the step of the repair the vector arrives. */
    static List<Step> steps() {
        return List.of(
                step("vcpu", "is preempted: sets SN", side -> {
                    side.descriptor.put();
                    return "";
                }),
                step(
                        "device",
                        "posts 0x41: sets PIR, not ON (SN is 1)",
                        side -> side.descriptor.post(VECTOR, false) == 0 ? "not notified" : "notified"),
                step("vcpu", "runs again: clears SN", side -> {
                    side.words.and(PostedInterruptDescriptor.CONTROL, ~PostedInterruptDescriptor.SN.mask());
                    return "";
                }),
                new Step("vcpu", "sets ON if PIR is not empty", true, side -> {
                    if (side.descriptor.hasRequests()) {
                        side.words.or(PostedInterruptDescriptor.CONTROL, PostedInterruptDescriptor.ON.mask());
                    }
                    return "<- the repair";
                }),
                step(
                        "vcpu",
                        "enters the guest: syncs if ON",
                        side -> side.descriptor.sync(side.irr, 0) ? "0x41 taken" : "ON clear: no sync"),
                step(
                        "sender",
                        "requests 0x41 too: sets PIR, then ON",
                        side -> side.descriptor.deliver(VECTOR) ? "notified" : "bit was set: stops"),
                step(
                        "vcpu",
                        "looks again: syncs if ON",
                        side -> side.descriptor.sync(side.irr, 0) ? "0x41 taken" : "ON clear: no sync"));
    }

    private static Step step(String actor, String what, Action action) {
        return new Step(actor, what, false, action);
    }

    /** A device of the same vector, after the steps: a unit looks at ON and SN only, not at its PIR bit. */
    static Step postAgain() {
        return step(
                "device",
                "posts 0x41 again",
                side -> side.descriptor.post(VECTOR, false) == 0 ? "not notified" : "notified");
    }

    /** What the worst order of two senders and a vCPU does. */
    enum Verdict {
        /** The request stays behind for any number of entries. */
        LOSES("loses"),
        /** The request stays behind until the guest exits for another reason. */
        LATE("late "),
        /** Every request is taken. */
        KEEPS("keeps");

        private final String word;

        Verdict(String word) {
            this.word = word;
        }

        String word() {
            return word;
        }
    }

    /**
     * A repair of the thread.
     *
     * @param why one sentence
     */
    record Repair(String what, Verdict verdict, String why) {}

    /** The proposals in their order, then the merged repair. */
    static List<Repair> repairs() {
        return List.of(
                new Repair("sync tests ON only", Verdict.LOSES, "the bug: while SN is set, a device posts without ON"),
                new Repair(
                        "sync tests PIR only",
                        Verdict.LATE,
                        "first proposal: a sync between a sender's PIR and its ON leaves a stale ON; units do not"
                                + " notify until the guest's next exit"),
                new Repair("sync tests PIR or ON", Verdict.KEEPS, "a stale ON is cleared at the next entry"),
                new Repair(
                        "one 16-bit store clears SN and sets ON",
                        Verdict.KEEPS,
                        "counter-proposal: after each load the next sync reads PIR"),
                new Repair(
                        "the same store as it was quoted",
                        Verdict.LOSES,
                        "it writes POSTED_INTR_ON, the bit number 0, where the mask 1 was meant: ON is cleared too"),
                new Repair(
                        "ON set if PIR is not empty, then SN cleared",
                        Verdict.LOSES,
                        "a device posts between the two steps, without ON"),
                new Repair(
                        "SN cleared, then ON set if PIR is not empty",
                        Verdict.KEEPS,
                        "merged: a device sees SN clear and sets ON, or the vCPU sees its PIR bit"));
    }

    @Override
    public void play(RacePrinter printer) {
        printer.text("""
            Each vCPU has a descriptor. PIR: the requested vectors. ON, outstanding notification: the vCPU was notified, or
            will sync. SN, suppress notification: a device sets PIR only, and does not notify. A sync moves PIR to the vCPU's
            interrupt request register (IRR), only if ON is set. Software that finds its PIR bit or ON set does not notify. A
            unit looks at ON and SN only.

            """);
        Side was = new Side();
        Side is = new Side();
        printer.head("today's kernel without the repair", "today's kernel", "ON SN PIR     IRR");
        for (Step step : steps()) {
            printer.row(step.actor(), step.what(), step.repair() ? "" : play(was, step), play(is, step));
        }
        printer.outcome("guest", !was.isInIrr(), outcome(was), !is.isInIrr(), outcome(is));
        printer.text("""
            LOST: no entry takes 0x41, however often the guest exits. Only a new request helps: a device that posts again,
            finds ON clear and notifies, or software that requests another vector. A device that waits to be served posts
            nothing more.

            The dispute: may software set ON? While ON is set, a unit does not notify (VT-d specification 9.12). It may: the
            vCPU is on its way into the guest, and its next entry clears ON and takes PIR. Until then no notification is
            needed.

            Proposed repairs, and the worst order of two senders and a vCPU:\
            """);
        for (Repair repair : repairs()) {
            printer.verdict(repair.verdict() != Verdict.KEEPS, repair.verdict().word(), repair.what(), repair.why());
        }
        printer.end("Linux has the repair since commit c112b5f50232. In the sources, make races searches every order.");
    }

    private static String play(Side side, Step step) {
        String seen = step.action().on(side);
        return String.format(
                "%d  %d  %-7s %-7s %s",
                side.isOn() ? 1 : 0,
                side.isSuppressed() ? 1 : 0,
                vectors(side.isRequested()),
                vectors(side.isInIrr()),
                seen);
    }

    private static String vectors(boolean has) {
        return has ? "{" + Hex.of(VECTOR) + "}" : "{}";
    }

    private static String outcome(Side side) {
        return side.isInIrr() ? "has 0x41 in its IRR: KEPT" : "0x41 stays in PIR: LOST";
    }
}
