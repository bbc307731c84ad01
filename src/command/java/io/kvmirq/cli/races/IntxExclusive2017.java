/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.arch.intx.model.PhysicalLine;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * The conflicts of a line that is requested exclusively, found in review in 2017, in steps. They are played with an
 * exclusive line, as direct EOI needs it, and with the shared line of the automatic mask. The last one falls back from
 * the first to the second.
 *
 * <p>Source: the thread "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler" of May 2017.
 */
final class IntxExclusive2017 {
    private IntxExclusive2017() {}

    /** A line with the devices of two VMs, and a second device of the first VM. */
    static final class Side implements Race.Side {
        private final PhysicalLine line = new PhysicalLine(LineController.GIC);
        private final IntxGuest a = new IntxGuest(line);
        private final IntxGuest secondOfA = a.another();
        private final IntxGuest b = new IntxGuest(line);
        private final Conflict conflict;
        private final boolean exclusive;

        Side(Conflict conflict, boolean exclusive) {
            this.conflict = conflict;
            this.exclusive = exclusive;
        }

        private String start(IntxGuest guest) {
            return request(guest, exclusive);
        }

        private static String request(IntxGuest guest, boolean exclusive) {
            return guest.start(exclusive) ? "granted" : "EBUSY";
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

        private String fallBack(IntxGuest guest) {
            return guest.vfio().mode() == InterruptMode.INTX ? "has the line" : request(guest, false);
        }

        private String giveBack(IntxGuest guest) {
            guest.vfio().disable();
            return request(guest, false);
        }

        /** Each device that has INTx requests service once. @return how often its driver served it */
        private int deliver(IntxGuest guest) {
            if (guest.vfio().mode() != InterruptMode.INTX) {
                return 0;
            }
            guest.device().request();
            line.take();
            return guest.run();
        }

        @Override
        public String state() {
            return String.format("%-8d  ", line.handlers());
        }

        /** How many of the devices that the conflict ends with are served, if each requests once. */
        int served() {
            return conflict.ends().apply(this).stream().mapToInt(this::deliver).sum();
        }

        @Override
        public Race.Outcome outcome() {
            int served = served();
            int needed = conflict.devices();
            return new Race.Outcome(
                    served < needed, served + " of " + needed + " served: " + (served < needed ? "FAILS" : "RUNS"));
        }
    }

    /**
     * A conflict, on a line of its own.
     *
     * @param end who needs interrupts at the end
     */
    record Conflict(String what, String end, Function<Side, List<IntxGuest>> ends, List<Race.Step<Side>> steps) {
        Side played(boolean exclusive) {
            Side side = new Side(this, exclusive);
            steps.forEach(step -> step.on(side));
            return side;
        }

        int devices() {
            return ends.apply(new Side(this, false)).size();
        }
    }

    private static final Race.Step<Side> FIRST =
            Race.Step.of("A's VM", "boots: enables INTx", side -> side.start(side.a));
    private static final Race.Step<Side> SECOND =
            Race.Step.of("B's VM", "boots: enables INTx", side -> side.start(side.b));

    /** The three conflicts of the thread. */
    static List<Conflict> conflicts() {
        return List.of(
                new Conflict("Two VMs race for the line", "B's VM", side -> List.of(side.b), List.of(FIRST, SECOND)),
                new Conflict(
                        "A VM loses the line while it uses MSI",
                        "A's VM",
                        side -> List.of(side.a),
                        List.of(
                                FIRST,
                                Race.Step.of("A's VM", "changes to MSI", side -> side.useMessages(side.a)),
                                SECOND,
                                Race.Step.of("A's VM", "reboots: enables INTx", side -> side.restart(side.a)))),
                new Conflict(
                        "A VM has two devices on the line",
                        "A's VM",
                        side -> List.of(side.a, side.secondOfA),
                        List.of(
                                Race.Step.of("A's VM", "enables INTx of A", side -> side.start(side.a)),
                                Race.Step.of(
                                        "A's VM",
                                        "enables INTx of a second device",
                                        side -> side.start(side.secondOfA)))));
    }

    /** An exclusive line, and a fallback to a shared one: it helps when the VM that has the line falls back too. */
    static Conflict fallback() {
        return new Conflict(
                "The way out: both VMs fall back to a shared line",
                "both",
                side -> List.of(side.a, side.b),
                List.of(
                        FIRST,
                        SECOND,
                        Race.Step.of("B's VM", "falls back: requests to share", side -> side.fallBack(side.b)),
                        Race.Step.of("A's VM", "falls back: frees, requests to share", side -> side.giveBack(side.a)),
                        Race.Step.of("B's VM", "falls back: requests to share", side -> side.fallBack(side.b))));
    }

    static Race race() {
        return new Race(
                "intx-exclusive",
                "A line that one device has for itself, as direct EOI needs it, makes others fail (VFIO INTx).",
                """
                Devices A and B share a level-triggered line. VFIO requests the line for each device that enables INTx. An
                exclusive request gets EBUSY if another device has the line. After an exclusive request is granted, all other
                requests get EBUSY, also those that would share. At the end of each conflict each device of the named VM requests
                service once.
                handlers: how many handlers have the line after the step.
                """,
                "exclusive, for direct EOI",
                "shared, with the automatic mask",
                "handlers",
                IntxExclusive2017::parts);
    }

    private static List<Race.Part> parts() {
        List<Race.Part> parts = new ArrayList<>();
        conflicts().forEach(conflict -> play(conflict, parts));
        play(fallback(), parts);
        long failed = conflicts().stream()
                .filter(conflict -> conflict.played(true).outcome().lost())
                .count();
        parts.add(new Race.Text(failed + " of " + conflicts().size()
                + " conflicts fail with an exclusive line. A VM that falls back alone fails, too, while another VM has"
                + " the line exclusively.\n"
                + "The module parameter nointxmask of vfio-pci makes the same conflicts, since vfio-pci then masks at"
                + " the interrupt controller\n"
                + "and requests the line exclusively. A platform device has a line of its own."));
        return parts;
    }

    private static void play(Conflict conflict, List<Race.Part> to) {
        to.add(new Race.Text(conflict.what() + ":"));
        to.add(new Race.Play<>(conflict.end(), new Side(conflict, true), new Side(conflict, false), conflict.steps()));
    }
}
