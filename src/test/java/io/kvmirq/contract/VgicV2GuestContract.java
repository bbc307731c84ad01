/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.DistributorRegister.*;
import static io.kvmirq.contract.KvmDebugfs.find;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import java.io.IOException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Interrupts that a running guest takes through the CPU interface of a GICv2. The fake runs none. */
@GicV2Contract
class VgicV2GuestContract extends GicV2Vms {
    private static final Spi SPI = new Spi(42);
    private static final Gsi GSI = new Gsi(SPI.pin());
    private static final Ppi PRIVATE = new Ppi(23);
    private static final int ROUNDS = 3;

    private Vm vm;

    @SuppressWarnings("NullAway.Init")
    VgicV2GuestContract(World world) {
        super(world);
    }

    @BeforeEach
    void setUp() {
        assumeTrue(world.kernel().isReal(), "needs a real kernel: the fake runs no guest of arm64");
        vm = vm();
    }

    /** A guest, for which the distributor is set up as its driver would. */
    private ArmGuest guest() {
        return new ArmGuest(world, Numbers.of(vm.fd()), ArmGuest.GICV2);
    }

    private VgicV2 enabled() {
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setCpuInterface(CPU_INTERFACE);
        vgic.init();
        vgic.writeDistributor(GICD_CTLR.offset(), 1);
        vgic.writeDistributor(GICD_ISENABLER.offset(), 1 << PRIVATE.number());
        vgic.writeDistributor(GICD_ISENABLER.offset() + 4, 1 << SPI.number() - 32);
        return vgic;
    }

    private static void takes(ArmGuest guest, int answer) {
        guest.runTo(ArmGuest.IN_SERVICE, answer);
        guest.runTo(ArmGuest.ENDED, answer);
    }

    private static int spis(VgicV2 vgic, int offset) {
        return vgic.readDistributor(offset + 4);
    }

    @Test
    void guestTakesEachSignalOfAnEventfd() {
        ArmGuest guest = guest();
        VgicV2 vgic = enabled();
        EventFd event = event();
        made.add(vm.assignIrqfd(event, GSI));
        for (int i = 0; i < ROUNDS; i++) {
            event.signal();
            guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
            assertThat(spis(vgic, PENDING)).as("pending when taken").isZero();
            assertThat(spis(vgic, GICD_ISACTIVER.offset())).isEqualTo(1 << SPI.number() - 32);
            guest.runTo(ArmGuest.ENDED, SPI.number());
            assertThat(spis(vgic, GICD_ISACTIVER.offset())).isZero();
        }
    }

    @Test
    void endOfALevelSignalsTheResamplefdAndLowersTheLine() {
        ArmGuest guest = guest();
        VgicV2 vgic = enabled();
        vgic.makeLevel(SPI);
        EventFd event = event();
        EventFd resample = event();
        made.add(vm.assignLevelIrqfd(event, resample, GSI));
        for (int i = 0; i < ROUNDS; i++) {
            event.signal();
            guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
            assertThat(resample.drain()).as("resamplefd before the end").isZero();
            assertThat(spis(vgic, PENDING)).as("the line").isNotZero();
            guest.runTo(ArmGuest.ENDED, SPI.number());
            assertThat(resample.drain()).as("resamplefd after the end").isEqualTo(1);
            assertThat(spis(vgic, PENDING)).isZero();
        }
    }

    @Test
    void guestTakesAPpiUntilItsLineIsLow() {
        ArmGuest guest = guest();
        enabled();
        vm.arm64().setPpi(FIRST, PRIVATE, true);
        for (int i = 0; i < ROUNDS; i++) {
            takes(guest, PRIVATE.number());
        }
        vm.arm64().setPpi(FIRST, PRIVATE, false);
        vm.arm64().setSpi(SPI, true);
        takes(guest, SPI.number());
    }

    /** The answer of GICC_IAR has the source of an SGI in bits 12:10: two of them are two interrupts. */
    @Test
    void guestTakesAnSgiOfEachSource() {
        ArmGuest guest = guest();
        vcpu(vm, 1).arm64().initialize();
        VgicV2 vgic = enabled();
        vgic.writeDistributor(new VcpuId(1), 0xf00, 1 << 16 | 5);
        vgic.writeDistributor(FIRST, 0xf00, 1 << 16 | 5);
        takes(guest, 5);
        takes(guest, 1 << 10 | 5);
        assertThat(vgic.readDistributor(PENDING)).isZero();
    }

    /** The kernel shows the guest's values: the priority mask in bits 4:0, the binary points as in hardware. */
    @Test
    void cpuInterfaceIsReadAsTheGuestLeftIt() {
        ArmGuest guest = guest();
        VgicV2 vgic = enabled();
        vm.arm64().setSpi(SPI, true);
        guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
        assertThat(vgic.readCpuInterface(FIRST, 0)).isEqualTo(1);
        assertThat(vgic.readCpuInterface(FIRST, 4)).isEqualTo(0x1f);
        assertThat(vgic.readCpuInterface(FIRST, 8)).isEqualTo(2);
        assertThat(vgic.readCpuInterface(FIRST, 0x1c)).isEqualTo(3);
        assertThat(vgic.readCpuInterface(FIRST, 0xd0))
                .as("priority 0 is active")
                .isEqualTo(1);
        guest.runTo(ArmGuest.ENDED, SPI.number());
        assertThat(vgic.readCpuInterface(FIRST, 0xd0)).isZero();
    }

    @Test
    void debugfsShowsTheStateOfAGicV2() throws IOException {
        KvmDebugfs debugfs = new KvmDebugfs(world, vm);
        vcpu(vm, 0).arm64().initialize();
        vcpu(vm, 1).arm64().initialize();
        VgicV2 vgic = enabled();
        vgic.writeDistributor(GICD_ITARGETSR.offset() + 40, 0b10 << 16);
        vm.arm64().setSpi(SPI, true);
        vgic.writeDistributor(new VcpuId(1), 0xf00, 1 << 16 | 5);
        VgicState state = VgicState.parse(debugfs.read("vgic-state"));
        assertThat(state.model()).isEqualTo("GICv2");
        assertThat(state.lpis()).isEmpty();
        VgicState.Interrupt sgi = find(state, VgicState.Kind.SGI, 5);
        assertThat(sgi.isPending()).isTrue();
        assertThat(sgi.sources()).isEqualTo(0b10);
        VgicState.Interrupt spi = find(state, VgicState.Kind.SPI, SPI.number());
        assertThat(spi.isPending()).isTrue();
        assertThat(spi.enabled()).isTrue();
        assertThat(spi.group()).isZero();
        assertThat(spi.targets()).isEqualTo(0b10);
        assertThat(spi.target()).hasValue(1);
    }

    // What the first run refuses: the lab's kernels mark the VM dead

    @Test
    void runNeedsBothAddresses() {
        Vcpu vcpu = vcpu(vm, 0);
        vcpu.arm64().initialize();
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.init();
        assertThat(refused(Errno.ENXIO, vcpu::run)).endsWith("ENXIO (an address of the VGIC is not set)");
        assertThat(refused(Errno.EIO, vgic::distributor)).endsWith("EIO (KVM has marked the VM dead)");
        refused(Errno.EIO, () -> vgic.setCpuInterface(CPU_INTERFACE));
        refused(Errno.EIO, vcpu::run);
    }

    @Test
    void runRefusesAnOverlap() {
        Vcpu vcpu = vcpu(vm, 0);
        vcpu.arm64().initialize();
        VgicV2 vgic = made.add(vm.arm64().createVgicV2());
        vgic.setDistributor(CPU_INTERFACE + 0x1000);
        vgic.setCpuInterface(CPU_INTERFACE);
        vgic.init();
        assertThat(refused(Errno.EINVAL, vcpu::run)).endsWith("EINVAL (addresses of the VGIC overlap)");
        refused(Errno.EIO, () -> vm.arm64().setSpi(SPI, true));
    }
}
