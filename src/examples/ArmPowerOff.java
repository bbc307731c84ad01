/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Ppi;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.ArmTimer;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;

/** On arm64: a vCPU begins at a kernel, writes to a console and turns the machine off by PSCI. */
class ArmPowerOff {
    static final long RAM = 0x4000_0000;
    static final long CONSOLE = 0x900_0000;

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
        fake.vcpu(0).exits(FakeExit.mmioWrite(CONSOLE, 1, '!'), FakeExit.systemEvent(1)); // a real guest runs code
        try (Kernel kernel = fake.open(); // Kernel.open() on an arm64 host
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(RAM, 0x10_0000);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                VgicV3 vgic = vm.arm64().createVgicV3()) {
            vcpu.arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2);
            vcpu.arm64().setTimerInterrupt(ArmTimer.VIRTUAL, new Ppi(27));
            vgic.setDistributor(0x800_0000);
            vgic.setRedistributors(0x80a_0000);
            vgic.init();
            vcpu.arm64().setRegister(ArmRegister.PC, RAM); // the kernel's first instruction
            vcpu.arm64().setRegister(ArmRegister.x(0), RAM + 0x8_0000); // its device tree
            VcpuExit exit = vcpu.run();
            while (exit.reason() == VcpuExit.Reason.MMIO) {
                if (exit.isWrite() && exit.address() == CONSOLE) {
                    System.out.println("console: " + (char) exit.data());
                }
                exit = vcpu.run();
            }
            System.out.println(exit + (exit.systemEvent() == 1 ? ": off" : ""));
        }
    }
}
