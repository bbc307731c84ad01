/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.vfio.VfioDevice;
import java.util.EnumSet;

/** A VMM offers its guest AutoEOI, and tells the mirror when the guest uses it. */
class AutoEoiGuest {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("amd-avic"));
        fake.pciDevice("0000:3b:00.0", 7).express().msix(1).add();
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            VcpuId first = new VcpuId(0);
            try (Vcpu vcpu = vm.createVcpu(first);
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio);
                    Forwarding forwarding = Forwarding.create(vm, nic)) {
                vcpu.x86().enableLapic();
                ForwardedIrq irq = forwarding.forward(
                        nic.msix().get(0), MsiMessage.to(first, new InterruptVector(0x30)));
                System.out.println(irq.predicted().text());
                forwarding.mirror().apply(new Event.Inhibited(EnumSet.of(InhibitReason.HYPERV)));
                forwarding.mirror().apply(new Event.GuestEntered(first));
                System.out.println(irq.predicted().text());
            }
        }
    }
}
