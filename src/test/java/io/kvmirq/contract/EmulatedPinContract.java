/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.IoapicGuest.lowHalf;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** INTA# of emulated functions, as a guest takes it from KVM's IOAPIC or from ours beside a split irqchip. */
@Contract
class EmulatedPinContract {
    private static final int PIN = 16;
    private static final int LEVEL = 1 << 15;
    private static final int MASKED = 1 << 16;
    private static final int LINE = 0x77;
    private static final String TAKEN = "0:0x77";
    private static final int COMMAND = 4;
    private static final int INTX_OFF = 1 << 10;
    private static final int INTERRUPT_STATUS = 1 << 19;
    private static final int MSIX_CONTROL = 0x42;
    private static final int MSIX_ENABLE = 1 << 15;
    /** For each kernel and irqchip: on the four fakes 1000 in all. */
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.pin.programs", 125);

    private static final int STEPS = 40;

    private final World world;
    private final Undo made = new Undo();
    private final List<EmulatedFunction> functions = new ArrayList<>();
    private PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
    private IoapicGuest guest;
    private Kernel kernel;
    /** A host device in slot 3 and its loop; null without. */
    private @Nullable FakePciDevice hardware;

    private @Nullable PassedThroughDevice passed;
    private @Nullable EventLoop loop;

    EmulatedPinContract(World world) {
        this.world = world;
    }

    @AfterEach
    void close() {
        made.close();
        world.closeAll();
    }

    /** Two functions with MSI-X that share a pin. The handler does {@code serve}. */
    private void open(boolean inKernel, Consumer<IoapicGuest> serve) {
        world.kernel();
        world.assumeX86();
        if (inKernel) {
            world.assumeFullIrqchip();
        }
        kernel = made.add(Kernel.over(world.kernel()));
        guest = new IoapicGuest(world, kernel, made, inKernel);
        addFunctions();
        guest.redirect(PIN, LINE | LEVEL, 0);
        guest.onService(vector -> serve.accept(guest));
    }

    private void addFunctions() {
        Vm vm = guest.machine();
        for (int slot = 1; slot <= 2; slot++) {
            functions.add(made.add(guest.function(bus, slot, PIN)
                    .bar(0, 0x1000)
                    .msix(made.add(EmulatedVectors.create(vm, 1)), 0, 0, 0x800)
                    .build()));
        }
    }

    private void addPassed() {
        hardware = world.fake()
                .orElseThrow()
                .pciDevice("0000:19:00.0", 36)
                .express()
                .resettable()
                .intx()
                .bar(0, 0x1000)
                .add();
        Vm vm = guest.machine();
        VfioDevice device = made.add(VfioDevice.open(kernel, hardware.address(), made.add(KvmVfio.create(vm))));
        loop = made.add(EventLoop.create(kernel));
        Forwarding forwarding = made.add(Forwarding.builder(vm, device)
                .userspace(Userspace.of(loop, guest.source()))
                .build());
        passed = made.add(PassedThroughDevice.builder(bus, 3, vm, device, forwarding)
                .intx(new Gsi(PIN))
                .build());
    }

    /** @return whether the loop had a signal of the host device */
    private boolean relay() {
        return loop != null && loop.pollNanos(0) > 0;
    }

    private void lowerAll() {
        functions.forEach(EmulatedFunction::lowerLine);
        if (hardware != null) {
            hardware.serve();
        }
    }

    private void config(int slot, int at, int size, int value) {
        bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | at & ~3);
        bus.write(true, 0xcfc + (at & 3), size, value);
    }

    private int config(int slot, int at) {
        bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | at);
        return (int) bus.read(true, 0xcfc, 4);
    }

    /** The guest takes just so many, or more if its KVM ends the interrupts of real mode early. */
    private void takes(int count) {
        guest.pass(0);
        List<String> served = guest.served();
        if (guest.keepsInService()) {
            assertThat(served).isEqualTo(Collections.nCopies(count, TAKEN));
        } else {
            assertThat(served).hasSizeGreaterThanOrEqualTo(count);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void raisedLineInterruptsUntilItIsLowered(boolean inKernel) {
        int[] left = {3};
        open(inKernel, service -> {
            if (--left[0] <= 0) {
                functions.get(0).lowerLine();
            }
        });
        assertThat(config(1, 0x3c) & 0xffff).as("line and pin").isEqualTo(1 << 8 | PIN);
        functions.get(0).raiseLine();
        takes(3);
        takes(0);
        functions.get(0).raiseLine();
        takes(1);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void functionsOfOnePinAreJoined(boolean inKernel) {
        open(inKernel, service -> lowerAll());
        functions.forEach(EmulatedFunction::raiseLine);
        functions.get(0).lowerLine();
        takes(1);
        functions.get(1).raiseLine();
        functions.get(0).reset();
        takes(1);
        functions.forEach(EmulatedFunction::raiseLine);
        functions.get(1).close();
        functions.remove(1);
        takes(1);
        takes(0);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void maskedOrHeldLineInterruptsAfterwards(boolean inKernel) {
        open(inKernel, service -> lowerAll());
        EmulatedFunction function = functions.get(0);
        config(1, COMMAND, 2, INTX_OFF);
        function.raiseLine();
        takes(0);
        assertThat(config(1, COMMAND) & INTERRUPT_STATUS).isNotZero();
        config(1, COMMAND, 2, 0);
        takes(1);
        assertThat(config(1, COMMAND) & INTERRUPT_STATUS).isZero();
        config(1, MSIX_CONTROL, 2, MSIX_ENABLE);
        function.raiseLine();
        takes(0);
        config(1, MSIX_CONTROL, 2, 0);
        takes(1);
        function.hold();
        function.raiseLine();
        takes(0);
        function.release();
        takes(1);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void resetAndCloseLowerTheLine(boolean inKernel) {
        open(inKernel, service -> lowerAll());
        guest.write(lowHalf(PIN), LINE | LEVEL | MASKED);
        functions.forEach(EmulatedFunction::raiseLine);
        bus.reset();
        guest.write(lowHalf(PIN), LINE | LEVEL);
        takes(0);
        guest.write(lowHalf(PIN), LINE | LEVEL | MASKED);
        functions.forEach(EmulatedFunction::raiseLine);
        functions.forEach(EmulatedFunction::close);
        functions.clear();
        guest.write(lowHalf(PIN), LINE | LEVEL);
        takes(0);
    }

    /** Each step of guest, device and VMM beside a plain account of both levels. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void randomProgramsLoseNoneAndTakeNoneTwice(boolean inKernel) {
        search(inKernel, false);
    }

    /**
     * The same beside a host device on the pin, whose line our loop relays to our IOAPIC. With KVM's IOAPIC an unmask may
     * lose the function's level: see {@link EmulatedFunction.Builder#intx(Gsi)}.
     */
    @Test
    void randomProgramsWithAHostDeviceLoseNoneAndTakeNoneTwice() {
        assumeTrue(world.fake().isPresent(), "needs a device of the fake");
        search(false, true);
    }

    private void search(boolean inKernel, boolean withDevice) {
        int[] keeps = {0};
        BitSet raised = new BitSet();
        open(inKernel, service -> {
            relay();
            if (keeps[0]-- <= 0) { // else it serves neither, and takes it again
                lowerAll();
                raised.clear();
            }
        });
        assumeTrue(guest.keepsInService(), "this KVM ends an interrupt of real mode when it injects it");
        if (withDevice) {
            addPassed();
        }
        for (int seed = 0; seed < PROGRAMS; seed++) {
            bus.reset();
            raised.clear();
            new Program(seed, raised, keeps).run();
        }
    }

    private final class Program {
        private final SplittableRandom random;
        private final BitSet raised;
        private final int[] keeps;
        private final boolean[] off = new boolean[3];
        private final boolean[] messages = new boolean[2];
        private final boolean[] held = new boolean[2];
        private final List<String> steps = new ArrayList<>();
        private boolean masked;

        Program(long seed, BitSet raised, int[] keeps) {
            this.random = new SplittableRandom(seed);
            this.raised = raised;
            this.keeps = keeps;
        }

        void run() {
            controlDevice(false);
            for (int i = 0; i < STEPS; i++) {
                int which = random.nextInt(passed == null ? 2 : 3);
                if (which == 2) {
                    stepOfDevice();
                } else {
                    step(which);
                }
                take();
            }
            controlDevice(false);
            for (int which = 0; which < 2; which++) {
                control(which, false, false);
                hold(which, false);
            }
            mask(false);
            take();
        }

        private void step(int which) {
            switch (random.nextInt(12)) {
                case 0, 1, 2 -> level(which, true);
                case 3 -> level(which, false);
                case 4, 5 -> control(which, random.nextBoolean(), messages[which]);
                case 6 -> control(which, off[which], random.nextBoolean());
                case 7 -> hold(which, true);
                case 8 -> hold(which, false);
                case 9 -> mask(random.nextBoolean());
                case 10 -> {
                    steps.add("restore " + which);
                    functions.get(which).restore(functions.get(which).state());
                }
                default -> {
                    if (random.nextInt(4) == 0) {
                        steps.add("reset " + which);
                        functions.get(which).reset();
                        raised.clear(which);
                        off[which] = false;
                        messages[which] = false;
                    }
                }
            }
        }

        private void stepOfDevice() {
            int kind = random.nextInt(12);
            if (kind < 5) {
                steps.add("device raises");
                raised.set(2);
                Objects.requireNonNull(hardware).requestService();
            } else if (kind < 7) {
                steps.add("device lowers");
                raised.clear(2);
                Objects.requireNonNull(hardware).serve();
            } else if (kind < 10) {
                controlDevice(random.nextBoolean());
            } else if (kind == 10) {
                mask(random.nextBoolean());
            } else {
                steps.add("device is reset");
                raised.clear(2);
                Objects.requireNonNull(passed).reset();
                controlDevice(false);
            }
        }

        private void controlDevice(boolean intxOff) {
            if (passed != null) {
                steps.add("control of device" + (intxOff ? " off" : ""));
                off[2] = intxOff;
                config(3, COMMAND, 2, 2 | (intxOff ? INTX_OFF : 0)); // BARs are decoded
            }
        }

        private void level(int which, boolean high) {
            steps.add((high ? "raise " : "lower ") + which);
            raised.set(which, high);
            if (high) {
                functions.get(which).raiseLine();
            } else {
                functions.get(which).lowerLine();
            }
        }

        private void control(int which, boolean intxOff, boolean msix) {
            steps.add("control " + which + (intxOff ? " off" : "") + (msix ? " MSI-X" : ""));
            off[which] = intxOff;
            messages[which] = msix;
            config(which + 1, COMMAND, 2, intxOff ? INTX_OFF : 0);
            config(which + 1, MSIX_CONTROL, 2, msix ? MSIX_ENABLE : 0);
        }

        private void hold(int which, boolean holds) {
            steps.add((holds ? "hold " : "release ") + which);
            held[which] = holds;
            if (holds) {
                functions.get(which).hold();
            } else {
                functions.get(which).release();
            }
        }

        private void mask(boolean masks) {
            steps.add(masks ? "mask" : "unmask");
            masked = masks;
            keeps[0] = 0; // the write lets the guest take it
            guest.write(lowHalf(PIN), LINE | LEVEL | (masks ? MASKED : 0));
        }

        private boolean isHigh(int which, boolean level) {
            return level && !off[which] && !messages[which] && !held[which];
        }

        private void take() {
            List<String> early = guest.served(); // by the guest's write of the entry
            boolean high = isHigh(0, raised.get(0)) || isHigh(1, raised.get(1)) || raised.get(2) && !off[2];
            int expected = 0;
            if (!masked && high) {
                keeps[0] = random.nextInt(3);
                expected = keeps[0] + 1;
            }
            do {
                guest.pass(0);
            } while (relay());
            List<String> taken = guest.served();
            assertThat(early.size()).as("%s", steps).isLessThanOrEqualTo(1);
            assertThat(taken).as("%s", steps).isEqualTo(Collections.nCopies(expected, TAKEN));
            steps.add("take " + taken);
        }
    }
}
