/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.IoAddress;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** BARs of three functions, as their guest moves them: each access is decoded by the addresses at that time. */
class BarDecodeTest {
    private static final long HOLE = 0xc0000000L;
    private static final long X = 0xc8000000L;
    private static final long Y = 0xc9000000L;
    private static final int BELL = 0x10;
    private static final int COMMAND = 4;
    private static final int BAR_0 = 0x10;
    private static final int PROGRAMS = 20;
    private static final int STEPS = 120;

    /** KVM waits for a grace period of SRCU whenever a probe of a doorbell is taken back: a few milliseconds. */
    private static final int REAL_STEPS = 30;

    private static final int ROUNDS = 300;
    private static final long LOW = 0xffff_ffffL;

    private final Undo parts = new Undo();
    private final PciHostBridge bus = new PciHostBridge(HOLE, 0x10000000L);
    private final List<EmulatedFunction> functions = new ArrayList<>();
    private final List<String> warnings = new ArrayList<>();
    private Kernel kernel;
    private Vm vm;
    private EventFd probe;

    /** Each register reads as the function's slot. */
    private record OneValue(int value) implements EmulatedFunction.Registers {
        @Override
        public long read(int bar, long at, int size) {
            return value;
        }

        @Override
        public void write(int bar, long at, int size, long value) {}
    }

    /** BAR 0 of the function in slot n has n × 4 KiB, rounded up to a power of two; BAR 1 has ports. */
    private void open(Kernels kernels) {
        kernel = parts.add(kernels.open());
        vm = parts.add(Vm.create(kernel));
        probe = parts.add(EventFd.create(kernel));
        for (int slot = 1; slot <= 3; slot++) {
            functions.add(parts.add(EmulatedFunction.builder(bus, slot, vm, new OneValue(slot))
                    .ids(0x1af4, 0x1040 + slot)
                    .bar(0, size(slot))
                    .ports(1, 0x20)
                    .doorbell(0, BELL, 2, parts.add(EventFd.create(kernel)))
                    .doorbell(1, BELL, 2, parts.add(EventFd.create(kernel)))
                    .warned(warnings::add)
                    .build()));
        }
    }

    private static long size(int slot) {
        return slot == 3 ? 0x4000 : 0x1000L * slot;
    }

    @AfterEach
    void close() {
        parts.close();
    }

    private void config(int slot, int at, int size, long value) {
        synchronized (bus) { // one vCPU at a time has address and data
            bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | at & ~3);
            bus.write(true, 0xcfc + (at & 3), size, value);
        }
    }

    private void enabledAt(int slot, long address) {
        config(slot, BAR_0, 4, address);
        config(slot, COMMAND, 2, 2);
    }

    /** The slot that answers at an address; 0 for none. */
    private int answers(boolean ports, long at) {
        long value = bus.read(ports, at, 2);
        return value == 0xffff ? 0 : (int) value;
    }

    private boolean hasDoorbell(boolean ports, long at) {
        try {
            vm.assignIoEventFd(ports ? IoAddress.port((int) at, 2) : IoAddress.mmio(at, 2), probe)
                    .close();
            return false;
        } catch (KernelException e) {
            assertThat(e.errno()).isEqualTo(Errno.EEXIST);
            return true;
        }
    }

    private void isAt(long address, int slot) {
        assertThat(answers(false, address + 0x20)).isEqualTo(slot);
        assertThat(hasDoorbell(false, address + BELL)).isEqualTo(slot != 0);
    }

    /** As Linux writes them in pci_reassign_bridge_resources. */
    @OnBothKernels
    void twoFunctionsSwapTheirAddressesWithoutSwitchingDecodingOff(Kernels kernels) {
        open(kernels);
        enabledAt(1, X);
        enabledAt(2, Y);
        config(2, BAR_0, 4, X);
        isAt(X, 1);
        isAt(Y, 0);
        assertThat(warnings)
                .containsExactly("1af4:1042 in slot 2: BAR 0 at 0xc8000000 lies on BAR 0 of 1af4:1041 in slot 1,"
                        + " which answers there");
        config(1, BAR_0, 4, Y);
        isAt(X, 2);
        isAt(Y, 1);
        config(1, BAR_0, 4, X); // and back: the lowest slot takes the address from the one that is there
        isAt(X, 1);
        isAt(Y, 0);
        config(2, BAR_0, 4, Y);
        isAt(Y, 2);
    }

    enum Frees {
        MOVE,
        DISABLE,
        RESET,
        UNPLUG,
        RESTORE
    }

    @ParameterizedTest
    @EnumSource(Frees.class)
    void barAnswersWhenTheOneOverItGoes(Frees frees) {
        open(Kernels.FAKE);
        byte[] elsewhere = functions.get(0).state();
        enabledAt(1, X);
        enabledAt(2, X);
        isAt(X, 1);
        switch (frees) {
            case MOVE -> config(1, BAR_0, 4, Y);
            case DISABLE -> config(1, COMMAND, 2, 0);
            case RESET -> functions.get(0).reset();
            case UNPLUG -> functions.get(0).close();
            case RESTORE -> functions.get(0).restore(elsewhere);
            default -> throw new AssertionError(frees);
        }
        isAt(X, 2);
    }

    @OnBothKernels
    void barAnswersAtTheFirstAccessWithoutTheMemoryOverIt(Kernels kernels) {
        open(kernels);
        GuestMemory memory = parts.add(vm.addMemory(X, 0x1000));
        enabledAt(1, X);
        assertThat(warnings).singleElement().asString().endsWith("the guest does not reach it");
        assertThat(answers(false, X + 0x20)).isZero();
        memory.close();
        isAt(X, 1);
    }

    /** A small BAR over a large one hides only its own addresses. */
    @OnBothKernels
    void largeBarAnswersBesideASmallOneOverIt(Kernels kernels) {
        open(kernels);
        enabledAt(3, X);
        enabledAt(1, X + 0x1000);
        isAt(X, 3);
        isAt(X + 0x1000, 1);
        assertThat(answers(false, X + 0x2000)).isEqualTo(3);
    }

    /** In any order: the state of the first does not fit beside the second as that is before its own restore. */
    @Test
    void statesOfSwappedFunctionsRestoreInAnyOrder() {
        open(Kernels.FAKE);
        enabledAt(1, X);
        enabledAt(2, Y);
        List<byte[]> states = List.of(functions.get(0).state(), functions.get(1).state());
        for (int first = 0; first < 2; first++) {
            config(1, BAR_0, 4, Y);
            config(2, BAR_0, 4, X);
            functions.get(first).restore(states.get(first));
            functions.get(1 - first).restore(states.get(1 - first));
            isAt(X, 1);
            isAt(Y, 2);
        }
    }

    /** Two vCPUs that move BARs over each other's end, and the last writes count. */
    @Test
    void twoThreadsThatMoveBarsOverEachOtherDoNotDeadlock() throws InterruptedException {
        open(Kernels.FAKE);
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            int index = i;
            threads.add(new Thread(() -> {
                for (int round = 0; round < ROUNDS; round++) {
                    long at = (round + index) % 2 == 0 ? X : Y;
                    // past CONFIG_ADDRESS, which one vCPU has at a time
                    functions.get(index).writeConfig(BAR_0, 4, (int) at);
                    functions.get(index).writeConfig(COMMAND, 2, 2);
                    bus.read(false, X + 0x20, 2);
                }
            }));
        }
        threads.forEach(Thread::start);
        for (Thread thread : threads) {
            thread.join();
        }
        isAt((ROUNDS - 1) % 2 == 0 ? X : Y, 1);
        isAt(ROUNDS % 2 == 0 ? X : Y, 2);
    }

    /** The slot that answers, of BARs and COMMAND as they are: the lowest that decodes the address. */
    private static int model(boolean ports, long at, long[][] bars, int[] command) {
        for (int slot = 1; slot <= 3; slot++) {
            long bar = bars[slot][ports ? 1 : 0];
            long end = ports ? 0x10000 : HOLE + 0x10000000L;
            long size = ports ? 0x20 : size(slot);
            boolean isInside = bar >= (ports ? 0 : HOLE) && bar <= end - size;
            if ((command[slot] & (ports ? 1 : 2)) != 0 && isInside && at >= bar && at < bar + size) {
                return slot;
            }
        }
        return 0;
    }

    @OnBothKernels
    void everyAccessIsDecodedAsThePlainModelDoes(Kernels kernels) {
        open(kernels);
        if (kernels == Kernels.REAL) {
            decodes(new SplittableRandom(0), REAL_STEPS);
            return;
        }
        for (int seed = 0; seed < PROGRAMS; seed++) {
            decodes(new SplittableRandom(seed), STEPS);
        }
    }

    private void decodes(SplittableRandom random, int steps) {
        bus.reset();
        List<String> program = new ArrayList<>();
        long[][] bars = new long[4][2];
        int[] command = new int[4];
        for (int step = 0; step < steps; step++) {
            int slot = 1 + random.nextInt(3);
            boolean ports = random.nextInt(4) == 0;
            if (step < 3 || random.nextInt(4) == 0) {
                command[slot] = random.nextInt(4);
                program.add("command " + slot + " " + command[slot]);
                config(slot, COMMAND, 2, command[slot]);
            }
            if (step < 3 || random.nextInt(4) > 0) {
                long at = random.nextInt(16) == 0 ? LOW : X + 0x1000L * random.nextInt(6);
                long value = ports ? 0xd000 + 0x20L * random.nextInt(3) : at;
                bars[slot][ports ? 1 : 0] = value & (ports ? -0x20 : -size(slot)) & LOW;
                program.add("BAR " + slot + (ports ? " ports " : " ") + Long.toHexString(value));
                config(slot, ports ? BAR_0 + 4 : BAR_0, 4, value);
            }
            check(program, bars, command);
        }
    }

    private void check(List<String> program, long[][] bars, int[] command) {
        for (int page = 0; page < 9; page++) {
            check(program, false, X + 0x1000L * page, bars, command);
        }
        for (int window = 0; window < 3; window++) {
            check(program, true, 0xd000 + 0x20L * window, bars, command);
        }
    }

    private void check(List<String> program, boolean ports, long at, long[][] bars, int[] command) {
        int expected = model(ports, at, bars, command);
        assertThat(answers(ports, at)).as("%x after %s", at, program).isEqualTo(expected);
        boolean isFirst = expected != 0 && bars[expected][ports ? 1 : 0] == at;
        assertThat(hasDoorbell(ports, at + BELL))
                .as("doorbell at %x after %s", at, program)
                .isEqualTo(isFirst);
    }
}
