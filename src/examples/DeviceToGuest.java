/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;

/** A message of a device reaches a vCPU: MSI-X vector 3, eventfd, irqfd, route, LAPIC. */
class DeviceToGuest {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.of("6.12")); // Kernel.open() for a device that is bound to vfio-pci
        FakePciDevice hardware =
                fake.pciDevice("0000:3b:00.0", 7).express().msix(64).add();
        VcpuId first = new VcpuId(0);
        InterruptVector vector = new InterruptVector(0x31);
        try (Kernel kernel = Kernel.over(fake.backend(), Kernel.DEVICE);
                Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(first);
                    KvmVfio kvmVfio = KvmVfio.create(vm); // gets the device's file before the device opens
                    VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio)) {
                vcpu.enableLapic();
                nic.config().enableBusMaster();
                Gsi gsi = vm.routes().add(MsiMessage.to(first, vector));
                try (Irqfd irqfd = vm.assignIrqfd(event, gsi);
                        ArmedVectors armed = nic.msix(3, 1).arm(List.of(event))) {
                    hardware.sendMessage(3); // real hardware does this on its own
                    System.out.println(nic.msix(3, 1).get(0) + " raised " + vector + " on " + first + ": "
                            + vcpu.isRequested(vector));
                    System.out.println(armed.enabled() + " vectors are enabled, " + irqfd.gsi() + " is assigned");
                }
            }
        }
    }
}
