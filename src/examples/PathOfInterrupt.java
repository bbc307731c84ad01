/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.vfio.VfioDevice;

/** Prints the way of a posted interrupt whose vCPU has run and is in user space. */
class PathOfInterrupt {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("vtd-posting"));
        fake.pciDevice("0000:3b:00.0", 7).express().msix(1).add();
        fake.vcpu(0).exits(FakeExit.ioOut(0x3f8, 1, 'A'));
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
                vcpu.run();
                // on this machine: Files.readString(Path.of("/proc/interrupts"))
                String interrupts = fake.hostFiles().text("proc/interrupts").orElseThrow();
                InterruptPath path = irq.path(new HostInterrupts(interrupts));
                path.links().forEach(System.out::println);
                path.claims().forEach(System.out::println);
            }
        }
    }
}
