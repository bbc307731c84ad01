/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.cli.frame.Hex;
import java.util.ArrayList;
import java.util.List;

/**
 * The interrupt that KVM lost until 2019, in steps. They are played with and without the repair; the rest is today's
 * kernel.
 *
 * <p>Source: the thread "KVM: x86: Sync the pending Posted-Interrupts" of January 2019, and the commit that followed,
 * c112b5f50232, "KVM: x86: Recompute PID.ON when clearing PID.SN".
 */
final class LostInterrupt2019 {
    private LostInterrupt2019() {}

    static final int VECTOR = 0x41;

    /** One kernel: the descriptor of a loaded vCPU with an empty PIR, and the IRR of the vCPU. */
    static final class Side implements Race.Side {
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

        /** The text beside the descriptor. */
        String post() {
            return descriptor.post(VECTOR, false) == 0 ? "not notified" : "notified";
        }

        private String sync() {
            return descriptor.sync(irr, 0) ? "0x41 taken" : "ON clear: no sync";
        }

        @Override
        public String state() {
            return String.format(
                    "%d  %d  %-7s %-7s ",
                    isOn() ? 1 : 0, isSuppressed() ? 1 : 0, vectors(isRequested()), vectors(isInIrr()));
        }

        private static String vectors(boolean has) {
            return has ? "{" + Hex.of(VECTOR) + "}" : "{}";
        }

        @Override
        public Race.Outcome outcome() {
            return isInIrr()
                    ? new Race.Outcome(false, "has 0x41 in its IRR: KEPT")
                    : new Race.Outcome(true, "0x41 stays in PIR: LOST");
        }

        private static boolean has(SharedWords vectors) {
            return (vectors.get(VECTOR / Long.SIZE) >>> VECTOR & 1) != 0;
        }
    }

    /** The losing order. With the step of the repair the vector arrives. */
    static List<Race.Step<Side>> steps() {
        return List.of(
                Race.Step.silent("vcpu", "is preempted: sets SN", side -> side.descriptor.put()),
                Race.Step.of("device", "posts 0x41: sets PIR, not ON (SN is 1)", Side::post),
                Race.Step.silent(
                        "vcpu",
                        "runs again: clears SN",
                        side -> side.words.and(
                                PostedInterruptDescriptor.CONTROL, ~PostedInterruptDescriptor.SN.mask())),
                new Race.Step<>("vcpu", "sets ON if PIR is not empty", true, side -> {
                    if (side.descriptor.hasRequests()) {
                        side.words.or(PostedInterruptDescriptor.CONTROL, PostedInterruptDescriptor.ON.mask());
                    }
                    return "<- the repair";
                }),
                Race.Step.of("vcpu", "enters the guest: syncs if ON", Side::sync),
                Race.Step.of(
                        "sender",
                        "requests 0x41 too: sets PIR, then ON",
                        side -> side.descriptor.deliver(VECTOR) ? "notified" : "bit was set: stops"),
                Race.Step.of("vcpu", "looks again: syncs if ON", Side::sync));
    }

    /** The proposals in their order, then the merged repair. */
    static List<Race.Finding> repairs() {
        return List.of(
                Race.Finding.loses("sync tests ON only", "the bug: while SN is set, a device posts without ON"),
                new Race.Finding(
                        true,
                        "late",
                        "sync tests PIR only",
                        "first proposal: a sync between a sender's PIR and its ON leaves a stale ON; units do not"
                                + " notify until the guest's next exit"),
                Race.Finding.keeps("sync tests PIR or ON", "a stale ON is cleared at the next entry"),
                Race.Finding.keeps(
                        "one 16-bit store clears SN and sets ON",
                        "counter-proposal: after each load the next sync reads PIR"),
                Race.Finding.loses(
                        "the same store as it was quoted",
                        "it writes POSTED_INTR_ON, the bit number 0, where the mask 1 was meant: ON is cleared too"),
                Race.Finding.loses(
                        "ON set if PIR is not empty, then SN cleared",
                        "a device posts between the two steps, without ON"),
                Race.Finding.keeps(
                        "SN cleared, then ON set if PIR is not empty",
                        "merged: a device sees SN clear and sets ON, or the vCPU sees its PIR bit"));
    }

    static Race race() {
        return new Race(
                "lost-interrupt-2019",
                "KVM until 2019 loses an interrupt that a device posts while the vCPU is preempted (VT-d posting).",
                """
                Each vCPU has a descriptor. PIR: the requested vectors. ON, outstanding notification: the vCPU was notified, or
                will sync. SN, suppress notification: a device sets PIR only, and does not notify. A sync moves PIR to the vCPU's
                interrupt request register (IRR), only if ON is set. Software that finds its PIR bit or ON set does not notify. A
                unit looks at ON and SN only.
                """,
                "today's kernel without the repair",
                "today's kernel",
                "ON SN PIR     IRR",
                LostInterrupt2019::parts);
    }

    private static List<Race.Part> parts() {
        List<Race.Part> parts = new ArrayList<>();
        parts.add(new Race.Play<>("guest", new Side(), new Side(), steps()));
        parts.add(new Race.Text("""
            LOST: no entry takes 0x41, however often the guest exits. Only a new request helps: a device that posts again,
            finds ON clear and notifies, or software that requests another vector. A device that waits to be served posts
            nothing more.

            The dispute: may software set ON? While ON is set, a unit does not notify (VT-d specification 9.12). It may: the
            vCPU is on its way into the guest, and its next entry clears ON and takes PIR. Until then no notification is
            needed.

            Proposed repairs, and the worst order of two senders and a vCPU:\
            """));
        parts.addAll(repairs());
        parts.add(new Race.End(
                "Linux has the repair since commit c112b5f50232. In the sources, make races searches every order."));
        return parts;
    }
}
