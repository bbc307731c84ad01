/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.snapshot.VmMove;
import java.util.Random;
import java.util.stream.IntStream;

/** The life of a whole VMM: load while it masks, reroutes and pauses, then moves, reboots and an unplug. */
final class Storm {
    private static final int MSIX = 0x11;

    private final Random random;
    private final boolean onFake;

    /** How much: interrupts of each source in each of four phases, moves and reboots. */
    record Load(int interrupts, int moves, int reboots) {}

    Storm(long seed, boolean onFake) {
        random = new Random(seed);
        this.onFake = onFake;
    }

    /**
     * Boots a machine, and drives it through all that the load asks for.
     *
     * @return how many interrupts the guest acknowledged
     */
    long run(StormMachine.Kind kind, Load load) {
        StormMachine machine = new StormMachine(kind, null);
        try {
            machine.start();
            machine.await("boot", machine::isBooted);
            boolean hasPassed = kind.hardware() != null;
            if (hasPassed) {
                machine.openPassed(); // INTx first
            }
            storm(machine, load.interrupts, hasPassed ? StormMachine.PASSED_LINE : StormMachine.LINE);
            if (hasPassed) {
                useMessages(machine);
                storm(machine, load.interrupts, StormMachine.PASSED + 1);
            }
            for (int i = 0; i < load.moves; i++) {
                machine = move(machine);
            }
            for (int i = 1; i <= load.reboots; i++) {
                reboot(machine, i);
            }
            storm(machine, load.interrupts, StormMachine.LINE);
            storm(machine, load.interrupts, StormMachine.LINE);
            unplug(machine);
            return IntStream.range(0, StormMachine.SOURCES)
                    .mapToLong(machine.acked::get)
                    .sum();
        } finally {
            machine.close();
        }
    }

    private static void useMessages(StormMachine machine) {
        machine.program(
                StormMachine.PASSED_BAR,
                0,
                1,
                StormMachine.vector(StormMachine.PASSED).number());
        machine.program(
                StormMachine.PASSED_BAR,
                1,
                2,
                StormMachine.vector(StormMachine.PASSED + 1).number());
        machine.msix(2, machine.capability(2, MSIX), true, false);
    }

    private static boolean isUsed(StormMachine machine, int source) {
        return source <= StormMachine.LINE || machine.sent.get(source) > 0;
    }

    /** Masks, moves, pauses and resumes until the load has arrived. */
    private void storm(StormMachine machine, int load, int last) {
        for (int source = 0; source <= last; source++) {
            if (source != StormMachine.PASSED_LINE || last == StormMachine.PASSED_LINE) {
                machine.load(source, load);
            }
        }
        for (int change = 0; !IntStream.range(0, StormMachine.SOURCES).allMatch(machine::isIdle); change++) {
            int entry = random.nextInt(StormMachine.EMULATED);
            switch (change % 6) {
                case 0 -> {
                    machine.pause();
                    machine.resume();
                }
                case 1, 2 ->
                    machine.program(
                            StormMachine.TABLE,
                            entry,
                            random.nextInt(StormMachine.VCPUS),
                            StormMachine.vector(entry).number());
                case 3 -> {
                    machine.maskEntry(StormMachine.TABLE, entry, true);
                    machine.maskEntry(StormMachine.TABLE, entry, false);
                }
                case 4 -> {
                    machine.msix(1, 0x40, true, true);
                    machine.msix(1, 0x40, true, false);
                }
                default -> machine.moveTimer(random.nextInt(StormMachine.VCPUS));
            }
            machine.check();
        }
        requireRight(machine);
    }

    private StormMachine move(StormMachine machine) {
        for (int source = 0; source < StormMachine.SOURCES; source++) {
            if (source != 3 && source != StormMachine.PASSED_LINE && isUsed(machine, source)) {
                machine.load(source, Integer.MAX_VALUE);
            }
        }
        long before = machine.acked.get(0);
        machine.await("a moment under load", () -> machine.acked.get(0) > before + random.nextInt(10));
        machine.pause();
        StormMachine next;
        try (VmMove move = machine.moves()) {
            for (int source = 0; source < StormMachine.SOURCES; source++) {
                machine.target.set(source, 0);
            }
            machine.send(3); // late
            machine.closePassed();
            next = machine.next();
            next.continues(move, machine);
            next.start();
        }
        machine.close();
        next.await("what was in flight", () -> IntStream.range(0, StormMachine.SOURCES)
                .allMatch(next::isIdle));
        requireRight(next);
        return next;
    }

    private void reboot(StormMachine machine, int number) {
        for (int source = 0; source <= StormMachine.LINE; source++) {
            machine.load(source, Integer.MAX_VALUE);
        }
        machine.askReset();
        machine.await("reboot " + number, () -> machine.reboots == number);
        machine.await("boot " + number, machine::isBooted);
        for (int source = 0; source <= StormMachine.LINE; source++) {
            machine.load(source, 1);
        }
        machine.await("the load after boot", () -> IntStream.range(0, StormMachine.SOURCES)
                .allMatch(machine::isIdle));
        requireRight(machine);
    }

    private static void unplug(StormMachine machine) {
        for (int source = 0; source <= StormMachine.LINE; source++) {
            machine.load(source, Integer.MAX_VALUE);
        }
        machine.unplug();
        for (int source = 0; source < StormMachine.SOURCES; source++) {
            machine.target.set(source, 0);
        }
        machine.await(
                "the timer and the line",
                () -> machine.isIdle(StormMachine.TIMER) && machine.isIdle(StormMachine.LINE));
        assertThat(machine.config(1, 0)).isEqualTo(0xffff_ffffL);
    }

    /** kvm_pvm ends a level interrupt of a real-mode guest at its injection, so that the line raises it once more. */
    private void requireRight(StormMachine machine) {
        for (int source = 0; source < StormMachine.SOURCES; source++) {
            long sent = machine.sent.get(source);
            assertThat(machine.acked.get(source))
                    .as("acknowledged, source " + source)
                    .isEqualTo(sent);
            if (source == StormMachine.LINE && !onFake) {
                assertThat(machine.taken(source)).as("taken from the line").isGreaterThanOrEqualTo(sent);
            } else {
                assertThat(machine.taken(source)).as("taken, source " + source).isEqualTo(sent);
            }
        }
    }
}
