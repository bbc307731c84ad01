/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.Spi;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.PciHostBridge;
import java.io.IOException;
import java.nio.file.Path;

/**
 * arm64: a GICv3 with an ITS, PSCI, and timers, all of KVM. All that the guest reaches is below 4 GiB, which is the
 * smallest size of guest addresses that KVM has.
 */
final class ArmPlatform extends Platform {
    // As the device tree in ArmLinux has them
    private static final long DISTRIBUTOR = 0x800_0000L, ITS = 0x808_0000L, REDISTRIBUTORS = 0x80a_0000L;
    private static final long CONSOLE = 0x900_0000L, DEVICE = 0x901_0000L;
    private static final long HOLE = 0x1000_0000L, ECAM = 0x3f00_0000L;
    private static final int CONSOLE_SPI = 33, DEVICE_SPI = 34;
    static final int FIRST_PCI_SPI = 40;
    static final long MEMORY = 0x4000_0000L;

    /** The first vCPU runs; the guest turns the others on. */
    ArmPlatform(Vm vm, int count, String irqchip) {
        super(
                vm,
                MEMORY,
                IoAddress.mmio(CONSOLE, 1),
                IoAddress.mmio(DEVICE, 1, EchoDevice.BYTE),
                PciHostBridge.withEcam(HOLE, ECAM - HOLE, ECAM));
        Platform.require(irqchip.equals("full"), "--irqchip %s: on arm64 KVM has the whole GIC", irqchip);
        add(0).arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2);
        for (int id = 1; id < count; id++) {
            add(id).arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2, Arm64Vcpu.Feature.POWER_OFF);
        }
        VgicV3 vgic = vm.arm64().createVgicV3();
        parts.push(vgic::close);
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
        Its translator = vm.arm64().createIts();
        parts.push(translator::close);
        translator.setAddress(ITS);
        translator.init();
    }

    @Override
    Runnable consoleInterrupt() {
        return irqfd(new Gsi(new Spi(CONSOLE_SPI).pin()));
    }

    @Override
    Runnable deviceInterrupt() {
        return irqfd(new Gsi(new Spi(DEVICE_SPI).pin()));
    }

    @Override
    Gsi pin(int number) {
        return new Gsi(new Spi(FIRST_PCI_SPI + number).pin());
    }

    @Override
    void loadLinux(Mapping memory, Path kernel, byte[] initramfs, String line, boolean hasDevices) throws IOException {
        ArmLinux linux = new ArmLinux(kernel);
        long tree = linux.load(memory, initramfs, line, vcpus.size());
        vcpus.get(0).arm64().setRegister(ArmRegister.PC, linux.start());
        vcpus.get(0).arm64().setRegister(ArmRegister.x(0), tree);
    }

    @Override
    void loadSmallGuest(Mapping memory) {
        throw new IllegalArgumentException("the small guest has code of x86: name a kernel for arm64 by --kernel");
    }
}
