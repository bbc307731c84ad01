/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.RoutesNow;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import java.util.Random;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.opentest4j.TestAbortedException;

/** A whole VMM under load loses no interrupt, and takes none that nobody sent. */
class StormTest {
    private static final int MSIX = 0x11;

    /** How much: interrupts of each source in each of four phases, moves and reboots. */
    private record Load(int interrupts, int moves, int reboots) {
        static final Load BRIEF = new Load(40, 2, 2);
        /** 100 000 interrupts. */
        static final Load LONG = new Load(4_000, 100, 20);
    }

    private enum Irqchip {
        FULL,
        SPLIT,
        ADOPTED
    }

    private final Random random = new Random(6);
    private boolean onFake;

    @ParameterizedTest
    @EnumSource
    void fakeGuestTakesWhatWasSent(Irqchip irqchip) {
        onFake("6.18", irqchip, Load.BRIEF);
    }

    @ParameterizedTest
    @CsvSource({"6.18, FULL", "6.18, SPLIT", "6.12, SPLIT"})
    @Tag("long")
    void fakeGuestTakesWhatWasSentForLong(String profile, Irqchip irqchip) {
        onFake(profile, irqchip, Load.LONG);
    }

    @ParameterizedTest
    @CsvSource({"jni, FULL", "ffm, SPLIT", "jna, ADOPTED", "jnr, FULL"})
    @RealKvm(fullIrqchip = true)
    void realGuestTakesWhatWasSent(String binding, Irqchip irqchip) {
        onKvm(binding, irqchip, Load.BRIEF);
    }

    @ParameterizedTest
    @CsvSource({
        "jni, FULL",
        "ffm, FULL",
        "jna, FULL",
        "jnr, FULL",
        "jni, SPLIT",
        "ffm, SPLIT",
        "jna, SPLIT",
        "jnr, SPLIT"
    })
    @RealKvm(fullIrqchip = true)
    @Tag("long")
    void realGuestTakesWhatWasSentForLong(String binding, Irqchip irqchip) {
        onKvm(binding, irqchip, Load.LONG);
    }

    private void onFake(String profile, Irqchip irqchip, Load load) {
        onFake = true;
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakePciDevice hardware = fake.pciDevice(StormMachine.HOST_DEVICE.toString(), 7)
                .ids(0x1b36, 0x10)
                .express()
                .resettable()
                .intx()
                .bar(0, 0x1000)
                .msix(2)
                .msixTable(0, 0)
                .msixPending(0, 0x800)
                .add();
        try (Kernel kernel = fake.open()) {
            run(kind(kernel, irqchip, hardware), load);
            assertThat(fake.lost()).isEmpty();
            assertThat(fake.messages().waiting()).isEmpty();
            assertThat(fake.openDescriptors()).hasSize(1);
        }
    }

    private void onKvm(String binding, Irqchip irqchip, Load load) {
        KernelBackend backend;
        try {
            backend = Backends.ofThisMachine().open(binding);
        } catch (BackendUnavailableException e) {
            throw new TestAbortedException(e.getMessage());
        }
        try (Kernel kernel = Kernel.over(backend)) {
            run(kind(kernel, irqchip, null), load);
            assertThat(kernel.openHandles()).hasSize(1);
        }
    }

    private static StormMachine.Kind kind(Kernel kernel, Irqchip irqchip, @Nullable FakePciDevice hardware) {
        return new StormMachine.Kind(
                kernel, irqchip == Irqchip.SPLIT, hardware, irqchip == Irqchip.ADOPTED ? foreign(kernel) : null);
    }

    /** A VM of other code. */
    private static Vm foreign(Kernel kernel) {
        Libc libc = kernel.libc();
        try (var device = kernel.device().lease()) {
            int vm = libc.ioctl(device.number(), Uapi.KVM_CREATE_VM, 0);
            assertThat(libc.ioctl(vm, Uapi.KVM_CREATE_IRQCHIP, 0)).isZero();
            return Vm.adopt(kernel, vm, Ownership.OWNED, RoutesNow.OF_FULL_IRQCHIP);
        }
    }

    // The scenario

    private void run(StormMachine.Kind kind, Load load) {
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
                default -> {
                    machine.timer.mask();
                    machine.moveTimer(random.nextInt(StormMachine.VCPUS));
                    machine.timer.unmask();
                }
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
