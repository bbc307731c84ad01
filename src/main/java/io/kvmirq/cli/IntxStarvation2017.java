/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.arch.intx.model.PhysicalLine;
import java.util.List;
import java.util.stream.Stream;

/**
 * Direct EOI on a line that two devices share, found in review in 2017, in steps. They are played with direct EOI for
 * device A, and with the automatic mask.
 *
 * <p>Source: the thread "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler" of May 2017.
 */
final class IntxStarvation2017 implements Race {
    /** How often B requests. */
    static final int ROUNDS = 1_000;

    @Override
    public String name() {
        return "intx-starvation";
    }

    @Override
    public String summary() {
        return "Direct EOI of one device, as posted in 2017, starves the other devices on its line (VFIO INTx).";
    }

    /** A line that devices A and B share, each of a VM. */
    static final class Side {
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
        String state() {
            return String.format(
                    "%d    %d      %d %d  %4d",
                    bit(line.isHigh()),
                    bit(line.isActive()),
                    bit(a.vfio().isMasked()),
                    bit(b.vfio().isMasked()),
                    b.served());
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

    /** What a step does. */
    @FunctionalInterface
    interface Action {
        /** @return the text to print beside the state */
        String on(Side side);
    }

    /** One step of the order. */
    record Step(String actor, String what, Action action) {}

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
    static List<Step> steps() {
        return List.of(
                new Step("A", "requests service", side -> {
                    side.a.device().request();
                    return "";
                }),
                new Step("host", "takes the line: A's VM is signalled", side -> taken(side.line.take())),
                new Step("B", "requests service", side -> {
                    side.b.device().request();
                    return "";
                }),
                new Step("host", "takes the line: B's VM is signalled", side -> taken(side.line.take())),
                new Step("B's VM", "serves B and ends the interrupt", side -> served(side.b.run())),
                new Step("B", "requests " + (ROUNDS - 1) + " times more", side -> {
                    for (int i = 1; i < ROUNDS; i++) {
                        side.round();
                    }
                    return "";
                }));
    }

    @Override
    public void play(RacePrinter printer) {
        printer.text("""
            Devices A and B, of two VMs, share a level-triggered line of a GIC. The automatic mask: A's handler sets DisINTx of
            A, and A's EOI clears it. Direct EOI: the interrupt stays active until A's guest ends it, and an active interrupt
            keeps the line from interrupting the host. A's vCPU is stopped.
            high: a device asserts the line. active: the interrupt waits for an EOI. A, B: whether the device is masked.
            B served: how often, up to this step.

            """);
        Side direct = new Side(true);
        Side masked = new Side(false);
        printer.head("direct EOI for A", "automatic mask", "high active A B  B served");
        for (Step step : steps()) {
            printer.row(step.actor(), step.what(), play(direct, step), play(masked, step));
        }
        printer.outcome("B", direct.isStarved(), outcome(direct), masked.isStarved(), outcome(masked));
        printer.text("How often B is served in " + ROUNDS + " rounds, if A's vCPU runs");
        for (int every : new int[] {1, 10, 100, 0}) {
            printer.row(
                    "",
                    every == 0 ? "never" : every == 1 ? "in each round" : "in every " + every + "th round",
                    String.valueOf(new Side(true).play(every)),
                    String.valueOf(new Side(false).play(every)));
        }
        printer.text("""

            Which interrupts may have direct EOI:
            no: it is masked automatically instead.
            yes: no other device waits for this guest's EOI.
            trust: another device may wait, and the administrator asserts that this does not matter.
            """);
        DirectEoiPolicy exclusive = DirectEoiPolicy.exclusive();
        DirectEoiPolicy shared = DirectEoiPolicy.shared(1);
        judge(printer, "a line that others share", shared);
        judge(printer, "a line that others share, asserted to be safe", shared.assertSafe());
        judge(
                printer,
                "an exclusive request for a line that another device has",
                new DirectEoiPolicy(exclusive.assertSafe().traits(), 1));
        judge(
                printer,
                "an exclusive request for a line of an IOAPIC (x86)",
                exclusive.withDeactivatingEoi(false).assertSafe());
        judge(printer, "an exclusive request for a free line", exclusive);
        judge(printer, "a platform device, which has a line of its own", exclusive.ofPlatformDevice(true));
        printer.end("A line for itself has conflicts of its own: see kvmirq races intx-exclusive.");
    }

    private static String play(Side side, Step step) {
        String seen = step.action().on(side);
        return (side.state() + "  " + seen).stripTrailing();
    }

    private static String outcome(Side side) {
        return side.b.served() + " of " + ROUNDS + " served: " + (side.isStarved() ? "STARVED" : "KEPT");
    }

    private static void judge(RacePrinter printer, String what, DirectEoiPolicy policy) {
        DirectEoiDecision decision = policy.decide();
        if (decision instanceof DirectEoiDecision.Refused refused) {
            printer.verdict(true, "no   ", what, lines(refused.reasons(), List.of()));
        } else if (decision instanceof DirectEoiDecision.AllowedByAssertion asserted) {
            printer.verdict(true, "trust", what, lines(asserted.outweighed(), asserted.breaks()));
        } else if (decision instanceof DirectEoiDecision.Allowed allowed) {
            printer.verdict(false, "yes  ", what, lines(List.of(), allowed.breaks()));
        }
    }

    /** The reasons against direct EOI, and what breaks with it. */
    private static List<String> lines(List<NotDirect> reasons, List<Breakage> breaks) {
        return Stream.concat(
                        reasons.stream().map(reason -> "against: " + reason.text()),
                        breaks.stream().map(broken -> "breaks:  " + broken.text()))
                .toList();
    }
}
