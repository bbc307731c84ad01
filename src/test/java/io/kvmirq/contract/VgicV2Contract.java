/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Making a VGICv2, and its lines: arch/arm64/kvm/vgic/vgic-init.c, vgic-kvm-device.c, vgic-v2.c, vgic-irqfd.c. */
@GicV2Contract
class VgicV2Contract extends GicV2Vms {
    private static final Spi SPI = new Spi(42);
    private static final Ppi PRIVATE = new Ppi(23);
    private static final int SPI_WORD = UapiArm64.KVM_ARM_IRQ_TYPE_SPI << UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT;
    private static final MsiMessage MESSAGE = MsiMessage.toIts(ITS, 0x10, 1);

    private final Vm vm = vm();

    VgicV2Contract(World world) {
        super(world);
    }

    private static boolean isPending(VgicV2 vgic, Spi spi) {
        return (vgic.readDistributor(PENDING + spi.number() / 32 * 4) >>> spi.number() % 32 & 1) != 0;
    }

    // Devices

    @Test
    void hostWithAGicV2HasNoGicV3AndNoIts() {
        assumeTrue(!vm.supports(KvmDevice.Type.VGIC_V3), "needs a host with a GICv2: a GICv3 may run both");
        assertThat(vm.supports(KvmDevice.Type.VGIC_V2)).isTrue();
        assertThat(vm.supports(KvmDevice.Type.ITS)).isFalse();
        assertThat(refused(Errno.ENODEV, vm.arm64()::createVgicV3))
                .contains("GICv2 hosts have neither a GICv3 nor an ITS");
        refused(Errno.ENODEV, vm.arm64()::createIts);
    }

    @Test
    void vgicIsTheOnlyOneAndStaysWhenItIsClosed() {
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        assertThat(refused(Errno.EEXIST, vm.arm64()::createVgicV2))
                .contains("the VM has a VGIC, and closing its descriptor");
        vgic.close();
        refused(Errno.EEXIST, () -> vm.createDevice(KvmDevice.Type.VGIC_V2));
        assertErrno(Errno.EEXIST, createIrqchip(vm));
    }

    /** It has no descriptor, so only its lines and irqfds can be used. */
    @Test
    void irqchipIsAGicV2() {
        vcpu(vm, 0).arm64().initialize();
        assertOk(createIrqchip(vm));
        assertErrno(Errno.EEXIST, createIrqchip(vm));
        assertThat(refused(Errno.EEXIST, vm.arm64()::createVgicV2)).contains("the VM has a VGIC");
        vm.arm64().setSpi(SPI, true);
    }

    @Test
    void gicV2Serves8Vcpus() {
        made.add(vm.arm64().createVgicV2());
        assertThat(refused(Errno.EINVAL, () -> vcpu(vm, 8)))
                .contains("EINVAL (with a GICv2 in the VM or the host: a ninth vCPU, or an id above 7")
                .doesNotContain("512");
        IntStream.range(0, 8).forEach(id -> vcpu(vm, 7 - id));
        refused(Errno.EINVAL, () -> vcpu(vm, 8));
        assertErrno(Errno.EINVAL, ioctlCreateVcpu(vm, 0));
    }

    private int ioctlCreateVcpu(Vm vm, int id) {
        return world.kernel().libc().ioctl(Numbers.of(vm.fd()), Uapi.KVM_CREATE_VCPU, id);
    }

    /** A VM of such a host has 8 vCPUs at most, with and without a GICv2. */
    @Test
    void hostWithAGicV2Has8VcpusInAVm() {
        assumeTrue(!vm.supports(KvmDevice.Type.VGIC_V3), "needs a host with a GICv2: a GICv3 serves more vCPUs");
        assertThat(world.kernel().capabilityCheck(world.kvm(), Uapi.KVM_CAP_MAX_VCPUS))
                .isEqualTo(8);
        assertThat(world.kernel().capabilityCheck(world.kvm(), Uapi.KVM_CAP_MAX_VCPU_ID))
                .isEqualTo(8);
        refused(Errno.EINVAL, () -> vcpu(vm, 8));
        IntStream.range(0, 8).forEach(id -> vcpu(vm, id));
        assertErrno(Errno.EINVAL, ioctlCreateVcpu(vm, 0));
    }

    /** ID_AA64PFR0_EL1.GIC and ID_PFR1_EL1.GIC. */
    @Test
    void vcpuOfSuchAHostHasNoSystemRegistersOfAGic() {
        assumeTrue(!vm.supports(KvmDevice.Type.VGIC_V3), "needs a host with a GICv2: a GICv3 has system registers");
        Vcpu vcpu = vcpu(vm, 0);
        vcpu.arm64().initialize();
        assertThat(vcpu.arm64().register(ArmRegister.system(3, 0, 0, 4, 0)) >>> 24 & 0xf)
                .isZero();
    }

    // Addresses

    @Test
    void addressIsSetOnceAndReadBack() {
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        assertThat(vgic.distributor()).isEmpty();
        assertThat(vgic.cpuInterface()).isEmpty();
        vgic.setDistributor(DISTRIBUTOR + 0x1000);
        vgic.setCpuInterface(CPU_INTERFACE + 0x1000);
        assertThat(vgic.distributor()).hasValue(DISTRIBUTOR + 0x1000);
        assertThat(vgic.cpuInterface()).hasValue(CPU_INTERFACE + 0x1000);
        assertThat(refused(Errno.EEXIST, () -> vgic.setDistributor(DISTRIBUTOR)))
                .contains("this address was set already");
        refused(Errno.EEXIST, () -> vgic.setCpuInterface(CPU_INTERFACE));
    }

    @Test
    void addressIsAPageOfTheVm() {
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        for (int place : new int[] {UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST, UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU}) {
            assertErrno(Errno.EINVAL, set(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR, place, 0x800_0800));
            assertErrno(Errno.EINVAL, set(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR, place, -0x1000));
        }
        assertThat(refused(Errno.E2BIG, () -> vgic.setDistributor(BEYOND))).contains("beyond the VM's addresses");
        refused(Errno.E2BIG, () -> vgic.setCpuInterface(BEYOND));
        refused(Errno.E2BIG, () -> vgic.setCpuInterface(BEYOND - 0x1000));
        vgic.setDistributor(BEYOND - 0x1000);
        vgic.setCpuInterface(BEYOND - 0x2000);
    }

    /** The first run finds the overlap, see {@link VgicV2GuestContract}. */
    @Test
    void overlapIsNotRefusedAtOnce() {
        VgicV2 vgic = readyGicV2(vm, 1);
        vgic.setDistributor(CPU_INTERFACE + 0x1000);
        vgic.setCpuInterface(CPU_INTERFACE);
    }

    // Attributes

    @Test
    void attributesOfAGicV3AreMissing() {
        VgicV2 vgic = readyGicV2(vm, 1);
        int address = UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR;
        for (int place = UapiArm64.KVM_VGIC_V3_ADDR_TYPE_DIST;
                place <= UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION + 1;
                place++) {
            assertErrno(Errno.ENXIO, has(vgic, address, place));
            assertErrno(Errno.ENXIO, set(vgic, address, place, DISTRIBUTOR));
            assertErrno(Errno.ENXIO, get(vgic, address, place));
        }
        for (int group : new int[] {
            UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
            UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
            UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO,
            UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
            99
        }) {
            assertErrno(Errno.ENXIO, has(vgic, group, 0));
            assertErrno(Errno.ENXIO, set(vgic, group, 0, 0));
            assertErrno(Errno.ENXIO, get(vgic, group, 0));
        }
        int control = UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL;
        assertErrno(Errno.ENXIO, has(vgic, control, UapiArm64.KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES));
        assertErrno(Errno.ENXIO, set(vgic, control, UapiArm64.KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, 0));
        assertErrno(Errno.ENXIO, get(vgic, control, UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT));
    }

    @Test
    void attributesOfAGicV2AreThere() {
        VgicV2 vgic = readyGicV2(vm, 1);
        assertOk(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR, UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST));
        assertOk(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR, UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU));
        assertOk(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0));
        assertOk(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL, UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT));
        for (int offset : new int[] {0, 4, 8, 0x80, 0x100, 0x47c, 0x800, 0xc00, 0xf00, 0xf10, 0xf20, 0xf2c}) {
            assertOk(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset));
        }
        for (int offset : new int[] {0xc, 0x2, 0xa0, 0xd00, 0xf04, 0xf30, 0xfe8, 0x6000}) {
            assertErrno(Errno.ENXIO, has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset));
        }
        for (int offset : new int[] {0, 4, 8, 0x1c, 0xd0, 0xdc, 0xfc}) {
            assertOk(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, offset));
        }
        for (int offset : new int[] {0xc, 0x10, 0x14, 0x18, 0x20, 0xe0, 0x100, 0x1004, 0x6}) {
            assertErrno(Errno.ENXIO, has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, offset));
        }
        assertThat(has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, 0x1000))
                .as("GICC_DIR")
                .isEqualTo(world.isSince(6, 19) ? 0 : -Errno.ENXIO.number());
    }

    @Test
    void registersNeedTheirVcpu() {
        VgicV2 vgic = readyGicV2(vm, 1);
        assertThat(refused(Errno.EINVAL, () -> vgic.readDistributor(SECOND, ENABLED)))
                .contains("no vCPU has that affinity, or with a GICv2 that id");
        refused(Errno.EINVAL, () -> vgic.writeCpuInterface(SECOND, 0, 1));
        assertErrno(Errno.EINVAL, has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, 1L << 32));
        assertErrno(Errno.EINVAL, has(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 255L << 32));
    }

    // Interrupts, and init

    @Test
    void numberOfInterruptsIsSetOnce() {
        VgicV2 vgic = gicV2(vm, 1);
        assertThat(vgic.interrupts()).isEqualTo(32);
        vgic.setInterrupts(96);
        assertThat(refused(Errno.EBUSY, () -> vgic.setInterrupts(96))).contains("is set already, by init");
        vgic.init();
        assertThat(vgic.interrupts()).isEqualTo(96);
        assertThat(vm.routes().routes())
                .isEqualTo(IntStream.range(0, 64)
                        .mapToObj(pin -> (Route) new Route.Pin(new Gsi(pin), Route.Chip.VGIC, pin))
                        .toList());
        vm.arm64().setSpi(new Spi(95), true);
        assertThat(isPending(vgic, new Spi(95))).isTrue();
        refused(Errno.EINVAL, () -> vm.arm64().setSpi(new Spi(96), true));
    }

    @Test
    void initChooses256Interrupts() {
        VgicV2 vgic = readyGicV2(vm, 1);
        assertThat(vgic.interrupts()).isEqualTo(256);
        refused(Errno.EBUSY, () -> vgic.setInterrupts(256));
        vgic.init();
        vm.arm64().setSpi(new Spi(255), true);
        assertThat(refused(Errno.EBUSY, () -> vcpu(vm, 1))).contains("the VGIC is initialized already");
    }

    /** The first line or register initialises a GICv2. An irqfd does not. */
    @Test
    void lineInitialises() {
        VgicV2 vgic = gicV2(vm, 1);
        assertThat(refused(Errno.EAGAIN, () -> vm.assignIrqfd(event(), new Gsi(5))))
                .contains("the interrupt controller is not initialized yet");
        assertThat(vgic.interrupts()).isEqualTo(32);
        assertOk(line(vm, SPI_WORD | SPI.number(), 1));
        assertThat(vgic.interrupts()).isEqualTo(256);
        refused(Errno.EBUSY, () -> vcpu(vm, 1));
    }

    @Test
    void registerInitialises() {
        VgicV2 vgic = gicV2(vm, 1);
        assertOk(get(vgic, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, ENABLED));
        assertThat(vgic.interrupts()).isEqualTo(256);
        VgicV2 other = gicV2(vm(), 1);
        assertOk(set(other, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, 0x1004, 0));
        assertThat(other.interrupts()).isEqualTo(256);
        VgicV2 third = gicV2(vm(), 1);
        assertErrno(Errno.EINVAL, get(third, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 1L << 32));
        assertOk(has(third, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, ENABLED));
        assertThat(third.interrupts()).isEqualTo(32);
    }

    // Lines

    @Test
    void lineOfAnSpiIsLatched() {
        VgicV2 vgic = readyGicV2(vm, 1);
        vm.arm64().setSpi(SPI, true);
        vm.arm64().setSpi(SPI, false);
        assertThat(isPending(vgic, SPI)).isTrue();
        vgic.writeDistributor(PENDING + 0x80 + 4, 1 << SPI.number() - 32);
        assertThat(isPending(vgic, SPI)).isFalse();
    }

    /** The pending state of a GICv2 has the lines of levels, which that of a GICv3 has not. */
    @Test
    void lineOfALevelIsPendingWhileItIsHigh() {
        VgicV2 vgic = readyGicV2(vm, 1);
        vgic.makeLevel(SPI);
        vm.arm64().setSpi(SPI, true);
        assertThat(isPending(vgic, SPI)).isTrue();
        vgic.writeDistributor(PENDING + 0x80 + 4, -1);
        assertThat(isPending(vgic, SPI)).isTrue();
        vm.arm64().setSpi(SPI, false);
        assertThat(isPending(vgic, SPI)).isFalse();
    }

    @Test
    void ppiIsOfOneVcpu() {
        VgicV2 vgic = readyGicV2(vm, 2);
        vm.arm64().setPpi(SECOND, PRIVATE, true);
        assertThat(vgic.readDistributor(SECOND, PENDING)).isEqualTo(1 << PRIVATE.number());
        assertThat(vgic.readDistributor(FIRST, PENDING)).isZero();
        vm.arm64().setPpi(SECOND, PRIVATE, false);
        assertThat(vgic.readDistributor(SECOND, PENDING)).isZero();
        refused(Errno.EINVAL, () -> vm.arm64().setPpi(new VcpuId(2), PRIVATE, true));
    }

    // Messages

    @Test
    void messageNeedsAnIts() {
        assertThat(refused(Errno.EINVAL, () -> vm.signal(MESSAGE))).endsWith("EINVAL (the VM has no VGIC)");
        VgicV2 vgic = readyGicV2(vm, 1);
        assertThat(refused(Errno.ENODEV, () -> vm.signal(MESSAGE))).endsWith("ENODEV (the VM has no ITS)");
        refused(Errno.ENODEV, () -> vm.signal(new MsiMessage(MESSAGE.address(), MESSAGE.data())));
        Gsi gsi = vm.routes().add(MESSAGE);
        EventFd event = event();
        Irqfd irqfd = made.add(vm.assignIrqfd(event, gsi));
        event.signal();
        irqfd.close();
        assertThat(event.drain()).as("taken, and lost").isZero();
        assertThat(IntStream.range(0, 8).map(word -> vgic.readDistributor(PENDING + word * 4)))
                .containsOnly(0);
    }

    /** Linux 6.1 took the id for the vCPU's place in the order of creation, until its maintainers fixed that. */
    @Test
    void registersAreNamedByTheIdOfTheVcpu() {
        Vcpu high = vcpu(vm, 5);
        high.arm64().initialize();
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        vgic.init();
        VcpuId id = new VcpuId(5);
        assertThat(vgic.readDistributor(id, ENABLED)).isEqualTo(0xffff);
        refused(Errno.EINVAL, () -> vgic.readDistributor(FIRST, ENABLED));
        assertThat(vgic.readDistributor(id, 0x800))
                .as("a target is a place, and later an id")
                .isEqualTo(world.isSince(6, 14) ? 0x2020_2020 : 0x0101_0101);
    }
}
