/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.intx.InterruptMode;
import io.kvmirq.arch.intx.LineController;
import io.kvmirq.arch.intx.PhysicalLine;
import java.util.List;

/**
 * The conflicts of a line that is requested exclusively, found in review in 2017, in steps. They are played with an
 * exclusive line, as direct EOI needs it, and with the shared line of the automatic mask.
 *
 * <p>Source: the thread "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler" of May 2017.
 */
final class IntxExclusive2017 implements Race {
    @Override
    public String name() {
        return "intx-exclusive";
    }

    @Override
    public String summary() {
        return "A line that one device has for itself, as direct EOI needs it, makes others fail (VFIO INTx).";
    }

    /** A line with devices A and B. */
    static final class Side {
        private final PhysicalLine line = new PhysicalLine(LineController.GIC);
        private final IntxGuest a = new IntxGuest(line);
        private final IntxGuest b = new IntxGuest(line);
        private final boolean exclusive;
        private int refused;

        Side(boolean exclusive) {
            this.exclusive = exclusive;
        }

        /** @return how many requests of the line were refused */
        int refused() {
            return refused;
        }

        private String start(IntxGuest guest) {
            boolean granted = guest.start(exclusive);
            refused += granted ? 0 : 1;
            return granted ? "granted" : "EBUSY";
        }

        private String useMessages(IntxGuest guest) {
            guest.vfio().disable();
            guest.vfio().enableMessages(InterruptMode.MSI);
            return line.handlers() == 0 ? "the line is free" : "the line is kept";
        }

        private String restart(IntxGuest guest) {
            guest.vfio().disableMessages();
            return start(guest);
        }
    }

    /** What a step does. */
    @FunctionalInterface
    interface Action {
        /** @return what is seen of it */
        String on(Side side);
    }

    /** One step of a conflict. */
    record Step(String actor, String what, Action action) {}

    /** A conflict, on a line of its own. */
    record Conflict(String what, String end, List<Step> steps) {}

    /** The three conflicts of the thread. */
    static List<Conflict> conflicts() {
        Step first = new Step("A's VM", "boots: enables INTx", side -> side.start(side.a));
        Step second = new Step("B's VM", "boots: enables INTx", side -> side.start(side.b));
        return List.of(
                new Conflict("Two VMs race for the line", "B's VM", List.of(first, second)),
                new Conflict(
                        "A VM loses the line while it uses MSI",
                        "A's VM",
                        List.of(
                                first,
                                new Step("A's VM", "changes to MSI", side -> side.useMessages(side.a)),
                                second,
                                new Step("A's VM", "reboots: enables INTx", side -> side.restart(side.a)))),
                new Conflict(
                        "A VM has both devices",
                        "the VM",
                        List.of(
                                new Step("the VM", "enables INTx of A", side -> side.start(side.a)),
                                new Step("the VM", "enables INTx of B", side -> side.start(side.b)))));
    }

    @Override
    public void play(RacePrinter printer) {
        printer.text("""
                Devices A and B share a level-triggered line. A handler may request it for itself: then the line is refused to all
                others with EBUSY while it has it, and it is refused the line while another has it. users: the handlers that have
                the line.

                """);
        printer.head("exclusive, for direct EOI", "shared, with the automatic mask", "users");
        int failed = 0;
        for (Conflict conflict : conflicts()) {
            Side exclusive = new Side(true);
            Side shared = new Side(false);
            printer.text(conflict.what() + ":");
            for (Step step : conflict.steps()) {
                printer.row(step.actor(), step.what(), play(exclusive, step), play(shared, step));
            }
            failed += exclusive.refused() > 0 ? 1 : 0;
            printer.outcome(
                    conflict.end(), exclusive.refused() > 0, outcome(exclusive), shared.refused() > 0, outcome(shared));
        }
        printer.end(failed + " of " + conflicts().size()
                + " fail with an exclusive line. The module parameter nointxmask of"
                + " vfio-pci makes the same conflicts, since it\nmasks at the interrupt controller. A platform device has a line"
                + " of its own.");
    }

    private static String play(Side side, Step step) {
        String seen = step.action().on(side);
        return String.format("%-5d  %s", side.line.handlers(), seen);
    }

    private static String outcome(Side side) {
        return side.refused() > 0 ? "has no interrupt: FAILS" : "has its interrupt: RUNS";
    }
}
