/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** Making a VGICv3 and its ITS: arch/arm64/kvm/vgic/vgic-init.c, vgic-kvm-device.c, vgic-mmio-v3.c, vgic-its.c. */
@ArmContract
class VgicContract extends ArmVms {
    private static final Spi BEYOND_DEFAULT = new Spi(256);

    private final Vm vm = vm();

    VgicContract(World world) {
        super(world);
    }

    // The VM

    @Test
    void kernelSaysThatItIsArm64() {
        assertThat(kernel.facts().architecture()).isEqualTo(KernelFacts.Architecture.ARM64);
        assertThat(kernel.facts().guestAddressBits().orElseThrow()).isBetween(32, 52);
    }

    @Test
    void vmHasTheAddressesThatItWasMadeWith() {
        Vm small = made.add(Vm.create(kernel, 36));
        assertThat(refused(Errno.E2BIG, () -> vgic(small).setDistributor(1L << 36)))
                .startsWith("vgic address set device (fd ")
                .endsWith(" distributor=0x1000000000: E2BIG (the range is beyond the VM's addresses)");
        int max = kernel.facts().guestAddressBits().orElseThrow();
        Vm large = made.add(Vm.create(kernel, max));
        vgic(large).setDistributor((1L << max) - 0x1_0000);
        assertThatThrownBy(() -> Vm.create(kernel, max + 1))
                .hasMessage("guest addresses of " + (max + 1) + " bits are not possible: expected 32-" + max
                        + " on this host");
        assertThatThrownBy(() -> Vm.create(kernel, 31)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void vcpuIsInitializedWithTheFeaturesOfTheFirst() {
        Vcpu first = vcpu(vm, 0);
        first.arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2);
        first.arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2);
        assertThat(refused(Errno.EINVAL, first.arm64()::initialize))
                .startsWith("vcpu init vcpu 0 (fd ")
                .contains("features");
        Vcpu second = vcpu(vm, 1);
        second.arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2, Arm64Vcpu.Feature.POWER_OFF);
    }

    /** {@code kvm_vcpu_set_target()} of 6.1 looks at one bit after the other, and keeps those before the unknown one. */
    @Test
    void unknownFeatureIsRefusedOn61AfterTheKnownOnesWereKept() {
        int vcpu = world.vcpu(Numbers.of(vm.fd()), 0);
        int psci = 1 << UapiArm64.KVM_ARM_VCPU_PSCI_0_2;
        assertErrno(Errno.ENOENT, init(vcpu, psci | 1 << 31));
        assertOk(init(vcpu, 0));
        boolean kept = !world.isSince(6, 12);
        assertThat(init(vcpu, 0)).isEqualTo(kept ? -Errno.EINVAL.number() : 0);
        assertThat(init(vcpu, psci)).isEqualTo(kept ? 0 : -Errno.EINVAL.number());
    }

    private int init(int vcpu, int features) {
        Libc libc = world.kernel().libc();
        ByteBuffer init = Buffers.allocate(UapiArm64.KvmVcpuInit.SIZE);
        assertOk(libc.ioctl(Numbers.of(vm.fd()), UapiArm64.KVM_ARM_PREFERRED_TARGET, init));
        return libc.ioctl(vcpu, UapiArm64.KVM_ARM_VCPU_INIT, init.putInt(UapiArm64.KvmVcpuInit.FEATURES, features));
    }

    @Test
    void vcpuIdOf512IsTooHigh() {
        vgic(vm);
        assertThat(refused(Errno.EINVAL, () -> vcpu(vm, 512))).endsWith(" id=512: EINVAL (a vCPU id of 512 or more)");
    }

    @Test
    void callsOfX86AreRefusedBeforeTheKernel() {
        assertThatThrownBy(vm::x86)
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessage(vm + " is arm64 and has no x86 parts: call Vm.arm64()");
        Vcpu vcpu = vcpu(vm, 0);
        assertThatThrownBy(vcpu::x86)
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessage(vcpu + " is arm64 and has no x86 parts: call Vcpu.arm64()");
    }

    // Devices

    @Test
    void vgicIsTheOnlyOneAndStaysWhenItIsClosed() {
        assertThat(vm.supports(KvmDevice.Type.VGIC_V3)).isTrue();
        assertThat(vm.supports(KvmDevice.Type.ITS)).isTrue();
        VgicV3 vgic = vgic(vm);
        assertThat(refused(Errno.EEXIST, vm.arm64()::createVgicV3))
                .contains("the VM has a VGIC, and closing its descriptor");
        vgic.close();
        refused(Errno.EEXIST, () -> vm.createDevice(KvmDevice.Type.VGIC_V3));
    }

    @Test
    void hostSaysWhetherItHasAGicV2() {
        if (vm.supports(KvmDevice.Type.VGIC_V2)) {
            made.add(vm.arm64().createVgicV2()).setCpuInterface(0x801_0000L);
        } else {
            assertThat(refused(Errno.ENODEV, vm.arm64()::createVgicV2))
                    .contains("many GICv3 hosts cannot run GICv2 guests");
        }
    }

    /** KVM_CREATE_IRQCHIP makes a GICv2. The kernel looks for one of the host before it looks for a VGIC of the VM. */
    @Test
    void irqchipIsRefusedWhereAGicV3Is() {
        vgic(vm);
        assertErrno(vm.supports(KvmDevice.Type.VGIC_V2) ? Errno.EEXIST : Errno.ENODEV, createIrqchip(vm));
    }

    // Addresses

    @Test
    void addressIsSetOnce() {
        VgicV3 vgic = vgic(vm);
        vgic.setDistributor(DISTRIBUTOR);
        assertThat(refused(Errno.EEXIST, () -> vgic.setDistributor(DISTRIBUTOR)))
                .contains("this address was set already");
        vgic.setRedistributors(REDISTRIBUTORS);
        refused(Errno.EEXIST, () -> vgic.setRedistributors(REDISTRIBUTORS));
    }

    @Test
    void addressThatIsMisalignedIsRefusedBeforeTheKernel() {
        VgicV3 vgic = vgic(vm);
        assertIllegalArgument(
                () -> vgic.setDistributor(DISTRIBUTOR + 0x1000),
                "distributor 0x8001000 is invalid: expected a guest physical address that is a multiple"
                        + " of 0x10000");
        assertThatThrownBy(() -> vgic.setDistributor(-0x1_0000)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> vgic.setRedistributors(1)).isInstanceOf(IllegalArgumentException.class);
        vgic.setDistributor(DISTRIBUTOR);
    }

    @Test
    void addressBeyondTheVmIsTooBig() {
        VgicV3 vgic = vgic(vm);
        refused(Errno.E2BIG, () -> vgic.setDistributor(BEYOND));
        refused(Errno.E2BIG, () -> vgic.setRedistributors(BEYOND));
        refused(Errno.E2BIG, () -> vgic.addRedistributors(0, BEYOND, 2));
        refused(Errno.E2BIG, () -> made.add(vm.arm64().createIts()).setAddress(BEYOND));
    }

    @Test
    void addressesAreReadBack() {
        VgicV3 vgic = vgic(vm);
        Its service = made.add(vm.arm64().createIts());
        assertThat(vgic.distributor()).isEmpty();
        assertThat(vgic.redistributors()).isEmpty();
        assertThat(service.address()).isEmpty();
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        service.setAddress(ITS);
        assertThat(vgic.distributor()).hasValue(DISTRIBUTOR);
        assertThat(vgic.redistributors()).containsExactly(new VgicV3.RedistributorRegion(REDISTRIBUTORS, 0));
        assertThat(service.address()).hasValue(ITS);
    }

    @Test
    void regionsAreReadBackInTheirOrder() {
        VgicV3 vgic = vgic(vm);
        vgic.addRedistributors(0, REDISTRIBUTORS, 2);
        vgic.addRedistributors(1, 0xff_ffe0_0000L, 3);
        assertThat(vgic.redistributors())
                .containsExactly(
                        new VgicV3.RedistributorRegion(REDISTRIBUTORS, 2),
                        new VgicV3.RedistributorRegion(0xff_ffe0_0000L, 3));
    }

    /** The kernel takes the region, although no vCPU will ever have a redistributor there. */
    @Test
    void regionIsAcceptedAfterRedistributorsOfAllVcpus() {
        VgicV3 vgic = vgic(vm);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.addRedistributors(1, 0x900_0000L, 2);
        assertThat(vgic.redistributors()).hasSize(2);
    }

    @Test
    void redistributorsMayNotOverlapTheDistributor() {
        VgicV3 vgic = vgic(vm);
        vgic.setDistributor(DISTRIBUTOR);
        assertThat(refused(Errno.EINVAL, () -> vgic.setRedistributors(DISTRIBUTOR)))
                .contains("redistributors overlap others or the distributor");
    }

    /** The region is as large as there are vCPUs: it overlaps from the first on, and the next one finds that out. */
    @Test
    void distributorOverRedistributorsRefusesTheVcpu() {
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.setRedistributors(DISTRIBUTOR);
        vgic.setDistributor(DISTRIBUTOR);
        vcpu(vm, 0);
        assertThat(refused(Errno.EINVAL, () -> vcpu(vm, 1))).contains("redistributor would overlap the distributor");
    }

    /** The second region is free: the new vCPU takes its slot there, and finds the distributor. */
    @Test
    void vcpuWithARedistributorTakesNoOther() {
        VgicV3 vgic = vgic(vm);
        vgic.addRedistributors(0, REDISTRIBUTORS, 1);
        vgic.addRedistributors(1, 0x2000_0000L, 1);
        vgic.setDistributor(0x2000_0000L);
        assertThat(refused(Errno.EINVAL, () -> vcpu(vm, 1))).contains("redistributor would overlap the distributor");
    }

    /** vCPU 2 is refused: with two vCPUs the region ends one redistributor beyond 4 GiB. */
    @Test
    void regionThatGrowsBeyondTheVmRefusesTheVcpu() {
        Vm vm = made.add(Vm.create(kernel, 32));
        made.add(vm.arm64().createVgicV3()).setRedistributors(0xfffe_0000L);
        vcpu(vm, 0);
        vcpu(vm, 1);
        assertThat(refused(Errno.EINVAL, () -> vcpu(vm, 2))).contains("grows with the vCPUs");
    }

    @Test
    void regionsComeInTurnAndApart() {
        VgicV3 vgic = vgic(vm);
        assertThat(refused(Errno.EINVAL, () -> vgic.addRedistributors(1, REDISTRIBUTORS, 2)))
                .contains("regions are set in index order");
        vgic.addRedistributors(0, REDISTRIBUTORS, 2);
        refused(Errno.EINVAL, () -> vgic.addRedistributors(0, REDISTRIBUTORS, 2));
        refused(Errno.EINVAL, () -> vgic.addRedistributors(2, 0x900_0000L, 2));
        assertThat(refused(Errno.EINVAL, () -> vgic.addRedistributors(1, REDISTRIBUTORS + 0x1_0000, 2)))
                .contains("redistributors overlap");
        vgic.addRedistributors(1, 0x900_0000L, 2);
        assertThat(refused(Errno.EINVAL, () -> vgic.setRedistributors(0xa00_0000L)))
                .contains("KVM_VGIC_V3_ADDR_TYPE_REDIST not after one");
    }

    @Test
    void regionsThatCannotBeAreRefusedBeforeTheKernel() {
        VgicV3 vgic = vgic(vm);
        for (int count : new int[] {-1, 0, 4096}) {
            assertThatThrownBy(() -> vgic.addRedistributors(0, REDISTRIBUTORS, count))
                    .hasMessage("a region of " + count + " redistributors is invalid: expected 1-4095");
        }
        assertThatThrownBy(() -> vgic.addRedistributors(256, REDISTRIBUTORS, 1))
                .isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> vgic.addRedistributors(0, 1L << 52, 1)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> vgic.addRedistributors(0, REDISTRIBUTORS + 1, 1))
                .isInstanceOf(IllegalArgumentException.class);
    }

    // Number of interrupts

    @Test
    void numberOfInterruptsIsSetOnce() {
        VgicV3 vgic = vgic(vm);
        assertThat(vgic.interrupts()).isEqualTo(32);
        vgic.setInterrupts(96);
        assertThat(vgic.interrupts()).isEqualTo(96);
        assertThat(refused(Errno.EBUSY, () -> vgic.setInterrupts(96)))
                .contains("interrupts=96: EBUSY (the number of interrupts is set already, by init at the latest)");
        vgic.init();
        vm.arm64().setSpi(new Spi(95), true);
        assertThat(refused(Errno.EINVAL, () -> vm.arm64().setSpi(new Spi(96), true)))
                .endsWith("EINVAL (no such vCPU or interrupt: PPIs are 16-31, SPIs 32 to the VGIC's last)");
    }

    @Test
    void numberOfInterruptsThatCannotBeIsRefusedBeforeTheKernel() {
        VgicV3 vgic = vgic(vm);
        for (int count : new int[] {-64, 32, 63, 65, 993, 1024}) {
            assertIllegalArgument(
                    () -> vgic.setInterrupts(count),
                    count
                            + " interrupts are not possible: expected 64-992, a multiple of 32, with the 32"
                            + " private ones");
        }
        vgic.setInterrupts(992);
    }

    @Test
    void initChooses256Interrupts() {
        VgicV3 vgic = ready(vm);
        assertThat(vgic.interrupts()).isEqualTo(256);
        refused(Errno.EBUSY, () -> vgic.setInterrupts(256));
        vm.arm64().setSpi(new Spi(255), true);
        refused(Errno.EINVAL, () -> vm.arm64().setSpi(BEYOND_DEFAULT, true));
    }

    // Order

    @Test
    void nothingWorksBeforeInit() {
        VgicV3 vgic = vgic(vm);
        assertThat(refused(Errno.EAGAIN, () -> vm.assignIrqfd(event(), new Gsi(5))))
                .contains("the interrupt controller is not initialized yet");
        assertThat(refused(Errno.EBUSY, () -> vm.arm64().setSpi(new Spi(42), true)))
                .matches("line set vm=\\d+ spi 42 level=1: EBUSY \\(the VGIC is not initialized yet\\)");
        refused(Errno.EBUSY, () -> vm.arm64().setPpi(FIRST, new Ppi(27), true));
        assertThat(refused(Errno.EBUSY, () -> vgic.readDistributor(0x204)))
                .contains("most registers are accessible only after init");
        refused(Errno.EBUSY, () -> vgic.writeDistributor(0x204, 0));
        refused(Errno.EBUSY, () -> vgic.isHigh(new Spi(42)));
        assertThat(refused(Errno.ENXIO, vgic::savePendingTables)).contains("before init there is nothing to save");
    }

    @Test
    void initTwiceIsInitOnce() {
        VgicV3 vgic = ready(vm);
        vm.routes().remove(new Gsi(5));
        vgic.init();
        assertThat(vm.routes().routes()).noneMatch(route -> route.gsi().number() == 5);
        assertThat(vgic.interrupts()).isEqualTo(256);
        EventFd event = event();
        made.add(vm.assignIrqfd(event, new Gsi(5))).close();
        event.signal();
        made.add(vm.assignIrqfd(event, new Gsi(5))).close();
        assertThat(vgic.isLatched(new Spi(37))).isFalse();
    }

    @Test
    void noVcpuComesAfterInit() {
        ready(vm);
        assertThat(refused(Errno.EBUSY, () -> vcpu(vm, 1))).contains("the VGIC is initialized already");
    }

    @Test
    void addressesMayComeAfterInit() {
        VgicV3 vgic = ready(vm);
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
    }

    @Test
    void registersNeedAVcpu() {
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.init();
        assertThat(refused(Errno.EINVAL, () -> vgic.readDistributor(0x204))).contains("no vCPU has that affinity");
        refused(Errno.EINVAL, () -> vgic.isHigh(new Spi(42)));
        vm.arm64().setSpi(new Spi(42), true);
    }

    @Test
    void vcpuHasItsAffinityOnceItIsInitialized() {
        vcpu(vm, 0);
        Vcpu second = vcpu(vm, 1);
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.init();
        VcpuId id = new VcpuId(1);
        refused(Errno.EINVAL, () -> vgic.isHigh(id, new Ppi(23)));
        second.arm64().initialize();
        assertThat(vgic.isHigh(id, new Ppi(23))).isFalse();
    }

    // ITS

    @Test
    void itsHasItsAddressOnceAndRegistersFromThen() {
        vgic(vm);
        Its service = made.add(vm.arm64().createIts());
        assertThatThrownBy(() -> service.setAddress(ITS + 0x1000)).isInstanceOf(IllegalArgumentException.class);
        assertThat(refused(Errno.ENXIO, () -> service.readRegister(0)))
                .contains("no such register, or the ITS has no address yet");
        service.setAddress(ITS);
        refused(Errno.EEXIST, () -> service.setAddress(ITS));
        long quiescent = 1L << 31;
        assertThat(service.readRegister(0)).isEqualTo(quiescent);
        assertIllegalArgument(
                () -> service.readRegister(2), "ITS register offset 0x2 is invalid: expected a multiple of 4");
        assertThatThrownBy(() -> service.writeRegister(0x84, 0)).hasMessageEndingWith("expected a multiple of 8");
        assertThatThrownBy(() -> service.readRegister(-8)).isInstanceOf(IllegalArgumentException.class);
        refused(Errno.ENXIO, () -> service.readRegister(0x8000));
        service.init();
    }
}
