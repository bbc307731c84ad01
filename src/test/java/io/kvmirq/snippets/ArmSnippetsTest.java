/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.ArmTimer;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import org.junit.jupiter.api.Test;

/** Examples in the Javadoc of {@code io.kvmirq.kvm}: arm64. */
class ArmSnippetsTest {
    private final VcpuId first = new VcpuId(0);

    @Test
    void vgic() {
        Spi serial = new Spi(40);
        try (Kernel kernel = new FakeKernel(Profile.parse("6.12,arm64")).open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first)) {
            vcpu.arm64().initialize();
            boolean high;
            // @start region="vgic"
            try (VgicV3 vgic = vm.arm64().createVgicV3()) {
                vgic.setInterrupts(64); // SPIs 32 to 63
                vgic.setDistributor(0x8000000);
                vgic.addRedistributors(0, 0x80a0000, 1); // region 0, for one vCPU
                vgic.init();
                vgic.makeLevel(serial);
                vm.arm64().setSpi(serial, true);
                high = vgic.isHigh(serial);
            }
            // @end
            assertThat(high).isTrue();
        }
    }

    @Test
    void vgicV2() {
        try (Kernel kernel = new FakeKernel(Profile.parse("gicv2")).open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first)) {
            vcpu.arm64().initialize();
            int control;
            // @start region="vgicv2"
            try (VgicV2 vgic = vm.arm64().createVgicV2()) {
                vgic.setInterrupts(64);
                vgic.setDistributor(0x8000000);
                vgic.setCpuInterface(0x8010000);
                vgic.init();
                control = vgic.readCpuInterface(first, 0); // GICC_CTLR
            }
            // @end
            assertThat(control).isZero();
        }
    }

    @Test
    void its() {
        try (Kernel kernel = new FakeKernel(Profile.parse("6.12,arm64")).open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first);
                VgicV3 vgic = vm.arm64().createVgicV3()) {
            vcpu.arm64().initialize();
            vgic.setInterrupts(64);
            vgic.setDistributor(0x8000000);
            vgic.addRedistributors(0, 0x80a0000, 1);
            vgic.init();
            long types;
            // @start region="its"
            try (Its its = vm.arm64().createIts()) {
                its.setAddress(0x8090000);
                its.init();
                types = its.readRegister(0x8); // GITS_TYPER
            }
            // @end
            assertThat(types & 1).isEqualTo(1); // physical LPIs
        }
    }

    @Test
    void vcpu() {
        try (Kernel kernel = new FakeKernel(Profile.parse("6.12,arm64")).open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first)) {
            // @start region="vcpu"
            Arm64Vcpu arm = vcpu.arm64();
            arm.initialize(Arm64Vcpu.Feature.PSCI_0_2);
            arm.setRegister(ArmRegister.PC, 0x40080000L);
            arm.setRegister(ArmRegister.x(0), 0x44000000L); // the device tree
            Ppi timer = arm.timerInterrupt(ArmTimer.VIRTUAL); // 27
            // @end
            assertThat(timer).isEqualTo(new Ppi(27));
            assertThat(arm.register(ArmRegister.PC)).isEqualTo(0x40080000L);
        }
    }
}
