/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.time.Duration;

/** INTx of a device in a guest whose IOAPIC is of this process. */
class SplitIrqchip {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12")); // Kernel.open() for a device that is bound to vfio-pci
        FakePciDevice hardware = fake.pciDevice("0000:3b:00.0", 7).intx().add();
        Gsi pin = new Gsi(11);
        InterruptVector vector = new InterruptVector(0x51);
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            GuestIoapic ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    EventLoop loop = EventLoop.create(kernel); // a thread runs it
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio);
                    Forwarding forwarding = Forwarding.builder(vm, nic)
                            .userspace(Userspace.of(loop, ioapic.source()))
                            .build()) {
                vcpu.x86().enableLapic();
                forwarding.forward(nic.intx(), pin);
                ioapic.write(0x00, 4, 0x10 + 2 * pin.number()); // exits of MMIO at GuestIoapic.ADDRESS
                ioapic.write(0x10, 4, 1 << 15 | vector.number()); // level
                hardware.requestService(); // real hardware does this on its own
                loop.poll(Duration.ZERO);
                System.out.println(vector + ": " + vcpu.x86().isRequested(vector) + ", pin high: " + ioapic.isHigh(11));
                hardware.serve();
                ioapic.endOfInterrupt(vector); // the exit IOAPIC_EOI
                System.out.println("after the EOI, pin high: " + ioapic.isHigh(11));
            }
        }
    }
}
