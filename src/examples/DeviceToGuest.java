/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;

/** 64 vectors of a device reach a vCPU: one call sets the routes, one call arms the device. */
class DeviceToGuest {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12")); // Kernel.open() for a device that is bound to vfio-pci
        FakePciDevice hardware =
                fake.pciDevice("0000:3b:00.0", 7).express().msix(64).add();
        VcpuId first = new VcpuId(0);
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(first);
                    KvmVfio kvmVfio = KvmVfio.create(vm); // gets the device's file before the device opens
                    VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio);
                    Forwarding forwarding = Forwarding.create(vm, nic)) {
                vcpu.x86().enableLapic();
                nic.config().enableBusMaster();
                List<ForwardedIrq> irqs = forwarding.forwardAll(
                        nic.msix(0, 64), i -> MsiMessage.to(first, new InterruptVector(0x30 + i)));
                ForwardedIrq irq = irqs.get(3);
                irq.mask(); // what the device sends waits
                hardware.sendMessage(3); // real hardware does this on its own
                irq.unmask();
                System.out.println(irq + ": " + vcpu.x86().isRequested(new InterruptVector(0x33)));
                irq.reroute(MsiMessage.to(first, new InterruptVector(0x80)));
                hardware.sendMessage(3);
                System.out.println(vm.routes().commits() + " routing commits, " + nic.irqChanges() + " change of the"
                        + " device, " + new InterruptVector(0x80) + ": " + vcpu.x86().isRequested(new InterruptVector(0x80)));
            }
        }
    }
}
