/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** An emulated function and a device of the host on one bus: its guest masks and moves the messages of both. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#x86")
class VfioSharedBusContract extends VfioSuite {
    private static final int ROUNDS = 60;
    private static final int FIRST_VECTOR = 0x30;
    private static final int ENABLE = 0x8000;
    private static final int MSIX = 0x11;

    private final Undo parts = new Undo();
    private Kernel typed;
    private Guest guest;
    private EmulatedFunction function;
    private Slot emulated;
    private EmulatedVectors vectors;
    private Slot passed;
    private Hardware hardware;

    private static final class NoRegisters implements EmulatedFunction.Registers {
        @Override
        public long read(int bar, long at, int size) {
            return 0;
        }

        @Override
        public void write(int bar, long at, int size, long value) {}
    }

    /** A VM with two vCPUs that do not run: their IRRs show what came. */
    private record Guest(Vm vm, List<Vcpu> vcpus, PciHostBridge bus) {
        static Guest of(Kernel kernel, Undo parts) {
            Vm vm = parts.add(Vm.create(kernel));
            vm.x86().createIrqchip();
            List<Vcpu> vcpus =
                    List.of(parts.add(vm.createVcpu(new VcpuId(0))), parts.add(vm.createVcpu(new VcpuId(1))));
            vcpus.forEach(vcpu -> vcpu.x86().enableLapic());
            return new Guest(vm, vcpus, new PciHostBridge(0xc000_0000L, 0x1000_0000L));
        }

        boolean has(MsiMessage message) {
            Vcpu vcpu = vcpus.get((int) (message.address() >>> 12 & 0xff));
            return vcpu.x86().isRequested(new InterruptVector(message.data() & 0xff));
        }
    }

    /** The guest's driver of the MSI-X of one function. */
    private record Slot(PciHostBridge bus, int slot) {
        int config(int at) {
            bus.write(true, 0xcf8, 4, 1L << 31 | slot << 11 | at & 0xfc);
            return (int) bus.read(true, 0xcfc, 4) >>> 8 * (at & 3);
        }

        void setConfig(int at, int size, int value) {
            bus.write(true, 0xcf8, 4, 1L << 31 | slot << 11 | at & 0xfc);
            bus.write(true, 0xcfc + (at & 3), size, value);
        }

        private int capability() {
            int at = config(0x34) & 0xff;
            while ((config(at) & 0xff) != MSIX) {
                at = config(at + 1) & 0xff;
            }
            return at;
        }

        private long table() {
            int place = config(capability() + 4);
            return (config(0x10 + Integer.BYTES * (place & 7)) & 0xffff_fff0L) + (place & ~7);
        }

        void enable() {
            setConfig(4, 2, 6); // memory, bus master
            setConfig(capability() + 2, 2, ENABLE);
        }

        void mask(boolean masked) {
            bus.write(false, table() + 12, 4, masked ? 1 : 0);
        }

        /** Vector 0. */
        void sendTo(MsiMessage message) {
            bus.write(false, table(), 4, message.address());
            bus.write(false, table() + 4, 4, message.address() >>> 32);
            bus.write(false, table() + 8, 4, message.data());
        }
    }

    @BeforeEach
    void setUp() {
        world.assumeX86();
        VfioDevice device = openDevice();
        vectors = parts.add(EmulatedVectors.create(guest.vm(), 4));
        emulated = new Slot(guest.bus(), 2);
        function = parts.add(function(guest, vectors));
        Forwarding forwarding = parts.add(Forwarding.create(guest.vm(), device));
        passed = new Slot(guest.bus(), 3);
        parts.add(PassedThroughDevice.builder(guest.bus(), 3, guest.vm(), device, forwarding)
                .build());
        emulated.enable();
        passed.enable();
        hardware.start();
    }

    private VfioDevice openDevice() {
        PciAddress address =
                vfio.world.fake().isPresent() ? vfio.hardware(E1000E).address() : PredictedEntriesContract.address();
        typed = parts.add(Kernel.over(kernel));
        guest = Guest.of(typed, parts);
        KvmVfio kvmVfio = parts.add(KvmVfio.create(guest.vm()));
        VfioDevice device = parts.add(VfioDevice.open(typed, address, kvmVfio));
        hardware = vfio.world.fake().isPresent()
                ? Hardware.of(vfio.hardware(E1000E))
                : Hardware.e1000e((at, value) -> device.region(0).putInt(at, value));
        parts.add(device::reset); // QEMU's e1000e counts 128 us from its last message
        return device;
    }

    private static EmulatedFunction function(Guest guest, EmulatedVectors vectors) {
        return EmulatedFunction.builder(guest.bus(), 2, guest.vm(), new NoRegisters())
                .ids(0x1af4, 0x1041)
                .bar(0, 0x1000)
                .msix(vectors, 0, 0, 0x800)
                .build();
    }

    @AfterEach
    void end() {
        parts.close();
    }

    private void arrives(MsiMessage message) {
        eventually(message + " is requested", () -> guest.has(message));
    }

    /**
     * Other vectors of both devices send all the time. Each round masks the first of both, sends one message of each, moves
     * them to a vector that was not used, and unmasks: that one message must come.
     */
    @Test
    void bothInterruptWhileTheGuestMasksAndMovesThem() throws InterruptedException {
        AtomicBoolean ended = new AtomicBoolean();
        Thread load = new Thread(() -> {
            while (!ended.get()) {
                vectors.signal(1);
                send(1);
            }
        });
        load.start();
        try {
            for (int i = 0; i < ROUNDS; i++) {
                InterruptVector even = new InterruptVector(FIRST_VECTOR + 2 * i);
                InterruptVector odd = new InterruptVector(FIRST_VECTOR + 2 * i + 1);
                MsiMessage first = MsiMessage.to(new VcpuId(i % 2), even);
                MsiMessage second = MsiMessage.to(new VcpuId((i + 1) % 2), odd);
                emulated.mask(true);
                passed.mask(true);
                vectors.signal(0);
                send(0);
                emulated.sendTo(first);
                passed.sendTo(second);
                assertThat(guest.has(first) || guest.has(second))
                        .as("both are masked")
                        .isFalse();
                passed.mask(false);
                emulated.mask(false);
                arrives(first);
                arrives(second);
            }
        } finally {
            ended.set(true);
            load.join();
        }
        System.out.println(vfio + ": " + 2 * ROUNDS + " moves of two functions on one bus, 0 lost");
    }

    /** A message of the device takes three writes to its registers. */
    private synchronized void send(int vector) {
        hardware.send(vector);
    }

    /** The message that waits goes to the VM that the function is restored in; the passed device stays. */
    @Test
    void emulatedFunctionMovesToAnotherVmWithWhatWaits() {
        MsiMessage message = MsiMessage.to(new VcpuId(1), new InterruptVector(0x41));
        emulated.sendTo(message);
        vectors.signal(0);
        byte[] state = function.state();
        MsiMessage ofDevice = MsiMessage.to(new VcpuId(0), new InterruptVector(0x51));
        passed.sendTo(ofDevice);
        passed.mask(false);
        hardware.send(0);
        arrives(ofDevice);
        guest = Guest.of(typed, parts);
        EmulatedFunction restored = parts.add(function(guest, parts.add(EmulatedVectors.create(guest.vm(), 4))));
        restored.restore(state);
        new Slot(guest.bus(), 2).mask(false);
        arrives(message);
    }
}
