/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.arch.intx.model.PhysicalLine;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Direct EOI on a line that two devices share, found in review in 2017, in steps. They are played with direct EOI for
 * device A, and with the automatic mask.
 *
 * <p>Source: the thread "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler" of May 2017.
 */
final class IntxStarvation2017 {
    private IntxStarvation2017() {}

    static final int ROUNDS = 1_000;

    /** A line that devices A and B share, each of a VM. */
    static final class Side implements Race.Side {
        private final PhysicalLine line = new PhysicalLine(LineController.GIC);
        private final IntxGuest a = new IntxGuest(line);
        private final IntxGuest b = new IntxGuest(line);

        Side(boolean direct) {
            if (direct) {
                a.chooseDirect();
            }
            a.start(false);
            b.start(false);
        }

        /** Whether the line is high, active, and each device masked, and how often B was served. */
        @Override
        public String state() {
            return String.format(
                    "%d    %d      %d %d  %4d  ",
                    bit(line.isHigh()),
                    bit(line.isActive()),
                    bit(a.vfio().isMasked()),
                    bit(b.vfio().isMasked()),
                    b.served());
        }

        @Override
        public Race.Outcome outcome() {
            return new Race.Outcome(
                    isStarved(), b.served() + " of " + ROUNDS + " served: " + (isStarved() ? "STARVED" : "KEPT"));
        }

        /** One round: A and B request, the host takes the line, and B's guest runs. */
        private void round() {
            a.device().request();
            line.take();
            b.device().request();
            line.take();
            b.run();
        }

        /**
         * Plays all rounds.
         *
         * @param every A's vCPU runs after so many rounds; 0 is never
         * @return how often B was served
         */
        int play(int every) {
            int before = b.served();
            for (int i = 1; i <= ROUNDS; i++) {
                round();
                if (every > 0 && i % every == 0) {
                    a.run();
                }
                b.run();
            }
            return b.served() - before;
        }

        boolean isStarved() {
            return b.served() < ROUNDS;
        }
    }

    private static int bit(boolean set) {
        return set ? 1 : 0;
    }

    private static String taken(boolean taken) {
        return taken ? "handlers run" : "no interrupt";
    }

    private static String served(int count) {
        return count == 0 ? "nothing" : "served";
    }

    /** A's vCPU is stopped in all steps. */
    static List<Race.Step<Side>> steps() {
        return List.of(
                Race.Step.silent(
                        "A", "requests service", side -> side.a.device().request()),
                Race.Step.of("host", "takes the line: A's VM is signalled", side -> taken(side.line.take())),
                Race.Step.silent(
                        "B", "requests service", side -> side.b.device().request()),
                Race.Step.of("host", "takes the line: B's VM is signalled", side -> taken(side.line.take())),
                Race.Step.of("B's VM", "serves B and ends the interrupt", side -> served(side.b.run())),
                Race.Step.of("B", "requests " + (ROUNDS - 1) + " times more", side -> {
                    for (int i = 1; i < ROUNDS; i++) {
                        side.round();
                    }
                    return "";
                }));
    }

    static Race race() {
        return new Race(
                "intx-starvation",
                "Direct EOI of one device, as posted in 2017, starves the other devices on its line (VFIO INTx).",
                """
                Devices A and B, of two VMs, share a level-triggered line of a GIC. The automatic mask: A's handler sets DisINTx of
                A, and A's EOI clears it. Direct EOI: the interrupt stays active until A's guest ends it, and an active interrupt
                keeps the line from interrupting the host. A's vCPU is stopped.
                high: a device asserts the line. active: the interrupt waits for an EOI. A, B: whether the device is masked.
                B served: how often, up to this step.
                """,
                "direct EOI for A",
                "automatic mask",
                "high active A B  B served",
                IntxStarvation2017::parts);
    }

    private static List<Race.Part> parts() {
        List<Race.Part> parts = new ArrayList<>();
        parts.add(new Race.Play<>("B", new Side(true), new Side(false), steps()));
        parts.add(new Race.Text("How often B is served in " + ROUNDS + " rounds, if A's vCPU runs"));
        for (int every : new int[] {1, 10, 100, 0}) {
            parts.add(new Race.Row(
                    every == 0 ? "never" : every == 1 ? "in each round" : "in every " + every + "th round",
                    String.valueOf(new Side(true).play(every)),
                    String.valueOf(new Side(false).play(every))));
        }
        parts.add(new Race.Text("""

            Which interrupts may have direct EOI:
            no: it is masked automatically instead.
            yes: no other device waits for this guest's EOI.
            trust: another device may wait, and DirectEoiPolicy.assertSafe() says that this does not matter. It is not
            nointxmask of vfio-pci, with which the line is requested exclusively.
            """));
        DirectEoiPolicy exclusive = DirectEoiPolicy.exclusive();
        DirectEoiPolicy shared = DirectEoiPolicy.shared(1);
        parts.add(judge("a line that others share", shared));
        parts.add(judge("a shared line, asserted by the user of kvmirq to be safe", shared.assertSafe()));
        parts.add(judge(
                "an exclusive request for a line that another device has",
                new DirectEoiPolicy(exclusive.assertSafe().traits(), 1)));
        parts.add(judge(
                "an exclusive request for a line of an IOAPIC (x86)",
                exclusive.withDeactivatingEoi(false).assertSafe()));
        parts.add(judge("an exclusive request for a free line", exclusive));
        parts.add(judge("a platform device, which has a line of its own", exclusive.ofPlatformDevice(true)));
        parts.add(new Race.End("A line for itself has conflicts of its own: see kvmirq races intx-exclusive."));
        return parts;
    }

    private static Race.Finding judge(String what, DirectEoiPolicy policy) {
        DirectEoiDecision decision = policy.decide();
        if (decision instanceof DirectEoiDecision.Refused refused) {
            return new Race.Finding(true, "no", what, lines(refused.reasons(), List.of()));
        }
        if (decision instanceof DirectEoiDecision.AllowedByAssertion asserted) {
            return new Race.Finding(true, "trust", what, lines(asserted.outweighed(), asserted.breaks()));
        }
        return new Race.Finding(false, "yes", what, lines(List.of(), ((DirectEoiDecision.Allowed) decision).breaks()));
    }

    /** The reasons against direct EOI, and what breaks with it. */
    private static String lines(List<NotDirect> reasons, List<Breakage> breaks) {
        return Stream.concat(
                        reasons.stream().map(reason -> "against: " + reason.text()),
                        breaks.stream().map(broken -> "breaks:  " + broken.text()))
                .collect(Collectors.joining("\n"));
    }
}
