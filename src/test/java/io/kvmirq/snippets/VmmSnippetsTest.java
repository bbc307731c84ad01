/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.junit.KvmTest;
import io.kvmirq.junit.Real;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.GuestMsi;
import io.kvmirq.pci.GuestMsix;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicInteger;

/** Examples in the Javadoc of {@code io.kvmirq.pci}, {@code irqchip}, {@code run} and {@code snapshot}. */
class VmmSnippetsTest {
    private final VcpuId first = new VcpuId(0);
    private final InterruptVector vector = new InterruptVector(0x31);

    /** The registers of a device that has one of 32 bits. */
    private static final class OneRegister implements EmulatedFunction.Registers {
        private long value;

        @Override
        public long read(int bar, long at, int size) {
            return value;
        }

        @Override
        public void write(int bar, long at, int size, long written) {
            value = written;
        }
    }

    @KvmTest(real = Real.IF_PRESENT)
    void function(Vm vm) {
        OneRegister registers = new OneRegister();
        boolean held;
        // @start region="function"
        PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x10000000L); // the hole for BARs, and its length
        try (EmulatedVectors vectors = EmulatedVectors.create(vm, 2);
                EmulatedFunction device = EmulatedFunction.builder(bus, 1, vm, registers)
                        .ids(0x1234, 0x11e8)
                        .bar(0, 0x1000)
                        .msix(vectors, 0, 0x800, 0xc00) // table and pending bits in BAR 0
                        .build()) {
            vectors.signal(0); // waits until the guest opens the vector
            held = device.isHeld();
        }
        // @end
        assertThat(held).isFalse();
    }

    @KvmTest
    void passed(Vm vm, VfioDevice nic) {
        int held;
        // @start region="passed"
        PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x10000000L);
        try (GuestMemory ram = vm.addMemory(0, 0x100000);
                Forwarding forwarding = Forwarding.create(vm, nic);
                PassedThroughDevice device = PassedThroughDevice.builder(bus, 1, vm, nic, forwarding)
                        .memory(ram) // the device reads and writes it
                        .build()) {
            held = device.gsis().size(); // none before the guest enables MSI-X
        }
        // @end
        assertThat(held).isZero();
    }

    @KvmTest
    void msix(Vm vm, Vcpu vcpu, VfioDevice nic) {
        vcpu.x86().enableLapic();
        try (Forwarding forwarding = Forwarding.create(vm, nic)) {
            // @start region="msix"
            GuestMsix msix = new GuestMsix(forwarding, nic, OptionalInt.empty()); // no requester id: x86
            msix.writeTable(0, 8, 0xfee00000L); // the guest's accesses: address, then data and mask
            msix.writeTable(8, 8, vector.number());
            msix.writeMessageControl(0x8000); // enabled: vector 0 is forwarded
            // @end
            assertThat(msix.gsis()).hasSize(1);
            msix.reset();
        }
    }

    @KvmTest(real = Real.IF_PRESENT)
    void msi(Vm vm, Vcpu vcpu) {
        vcpu.x86().enableLapic();
        try (EmulatedVectors vectors = EmulatedVectors.create(vm, 1)) {
            // @start region="msi"
            GuestMsi msi = new GuestMsi(vectors, OptionalInt.empty(), 0x80); // one message, 64-bit address
            msi.write(4, 4, 0xfee00000); // the guest's accesses to the capability: address, data, control
            msi.write(12, 2, vector.number());
            msi.write(2, 2, 1);
            vectors.signal(0);
            // @end
            assertThat(vcpu.x86().isRequested(vector)).isTrue();
            msi.reset();
        }
    }

    @KvmTest(real = Real.IF_PRESENT)
    void ioapic(Kernel kernel) {
        try (Vm vm = Vm.create(kernel)) {
            // @start region="ioapic"
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            GuestIoapic ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            ioapic.write(0, 4, 0x10 + 2 * 5); // the guest's accesses: entry of pin 5,
            ioapic.write(0x10, 4, 0x8000 | 0x41); // level, vector 0x41
            ioapic.source().line(new Gsi(5), true); // each device has a source of its own
            // @end
            assertThat(ioapic.isHigh(5)).isTrue();
        }
    }

    @KvmTest
    void pic(Kernel kernel) {
        // @start region="pic"
        GuestPic pic = new GuestPic();
        if (GuestPic.isPort(0x21)) {
            pic.write(0x21, 0xff); // an exit of a vCPU: all pins masked
        }
        // @end
        assertThat(pic.read(0x21)).isEqualTo(0xff);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void threads(Kernel kernel) throws InterruptedException {
        AtomicInteger written = new AtomicInteger();
        try (Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000);
                Vcpu vcpu = vm.createVcpu(first)) {
            memory.mapping().put(0x1000, new byte[] {(byte) 0xb0, 7, (byte) 0xe6, 0x42}); // mov $7, %al; out %al, $0x42
            vcpu.x86().startAt(0x1000, 0x8000);
            VcpuThreads.Owner owner = new VcpuThreads.Owner() {
                @Override
                public boolean exited(Vcpu stopped, VcpuExit exit) {
                    written.set((int) exit.data());
                    return false;
                }

                @Override
                public void failed(Vcpu ended, Throwable failure) {
                    throw new AssertionError(failure);
                }
            };
            // @start region="threads"
            try (VcpuThreads threads = VcpuThreads.startPaused(List.of(vcpu), owner)) {
                threads.resume(); // owner.exited gets each exit; pause() returns when no vCPU runs
                threads.join(); // until an exit returns false
            }
            // @end
        }
        assertThat(written).hasValue(7);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void snapshot(Kernel kernel) {
        String saved;
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(first);
                    MaskableVector queue = MaskableVector.create(vm, MsiMessage.to(first, vector))) {
                // @start region="snapshot"
                VmParts parts = new VmParts(vm).vcpu(first, vcpu).vector("queue 0", queue); // all that the VM has
                String document = VmSnapshot.take(parts).text(); // JSON, without the guest's memory
                VmSnapshot.parse(document).restore(parts);
                // @end
                saved = document;
            }
        }
        assertThat(saved).contains("queue 0");
    }

    @KvmTest(real = Real.IF_PRESENT)
    void move(Kernel kernel) {
        try (Vm old = Vm.create(kernel);
                Vm next = Vm.create(kernel)) {
            old.x86().createIrqchip();
            next.x86().createIrqchip();
            try (Vcpu vcpu = old.createVcpu(first);
                    Vcpu there = next.createVcpu(first);
                    MaskableVector queue = MaskableVector.create(old, MsiMessage.to(first, vector));
                    MaskableVector moved = MaskableVector.create(next, MsiMessage.to(first, vector))) {
                vcpu.x86().enableLapic();
                // @start region="move"
                try (VmMove move =
                        VmMove.from(new VmParts(old).vcpu(first, vcpu).vector("queue 0", queue))) {
                    queue.signal(); // arrives in the new VM
                    move.into(new VmParts(next).vcpu(first, there).vector("queue 0", moved));
                }
                // @end
                moved.mask(); // waits for the injection
                assertThat(there.x86().isRequested(vector)).isTrue();
            }
        }
    }
}
