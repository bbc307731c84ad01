/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Gsi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;

/** On arm64: each signal of an eventfd latches SPI 42 in the VGIC. */
class PendingSpi {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
        Spi spi = new Spi(42);
        try (Kernel kernel = fake.open(); // Kernel.open() on an arm64 host
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0)); // vCPUs first
                VgicV3 vgic = vm.arm64().createVgicV3();
                EventFd event = EventFd.create(kernel)) {
            vcpu.arm64().initialize();
            vgic.setDistributor(0x800_0000);
            vgic.setRedistributors(0x80a_0000);
            vgic.init(); // GSI n now raises SPI n + 32
            try (Irqfd irqfd = vm.assignIrqfd(event, new Gsi(spi.pin()))) {
                event.signal();
                System.out.println(irqfd.gsi() + " latched " + spi + ": " + vgic.isLatched(spi));
            }
        }
    }
}
