/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.CpuInterfaceRegister.*;
import static io.kvmirq.arch.gic.model.DistributorRegister.*;
import static io.kvmirq.arch.gic.model.RedistributorRegister.PRIVATE_FRAME;
import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Interrupts on their way to a guest of arm64 that runs. The fake runs none. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#arm64")
class ArmGuestContract extends ArmVms {
    private static final Spi SPI = new Spi(42);
    private static final Gsi GSI = new Gsi(SPI.pin());
    private static final Ppi PRIVATE = new Ppi(23);
    /** The virtual timer. */
    private static final Ppi TIMER = new Ppi(27);

    private static final int ROUNDS = 3;

    private final VfioWorld vfio;
    private Vm vm;
    private VgicV3 vgic;
    private ArmGuest guest;
    private int number;

    @SuppressWarnings("NullAway.Init")
    ArmGuestContract(VfioWorld vfio) {
        super(vfio.world);
        this.vfio = vfio;
    }

    @BeforeEach
    void setUp() {
        assumeTrue(world.kernel().isReal(), "needs a real kernel: the fake runs no guest of arm64");
        start(ArmGuest.CODE);
    }

    private void start(String code) {
        vm = vm();
        number = made.add(vm.fd().lease()).number();
        guest = new ArmGuest(world, number, code);
        vgic = made.add(vm.arm64().createVgicV3());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
        GuestGic.enable(vgic);
        vgic.writeDistributor(GICD_IGROUPR.offset() + Integer.BYTES, -1);
        GuestGic.enable(vgic, SPI);
        vgic.writeRedistributor(FIRST, PRIVATE_FRAME + GICD_IGROUPR.offset(), -1);
        vgic.writeRedistributor(FIRST, PRIVATE_FRAME + GICD_ISENABLER.offset(), 1 << PRIVATE.number());
    }

    @Override
    @AfterEach
    void close() {
        made.close();
        vfio.closeAll();
    }

    private void high() {
        eventually(SPI + " is high", () -> vgic.isHigh(SPI));
    }

    private void answers() {
        guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
        guest.runTo(ArmGuest.ENDED, SPI.number());
    }

    @Test
    void guestTakesEachSignalOfAnEventfd() {
        EventFd event = event();
        made.add(vm.assignIrqfd(event, GSI));
        for (int i = 0; i < ROUNDS; i++) {
            event.signal();
            latched(vgic, SPI);
            guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
            assertThat(vgic.isLatched(SPI)).as("latched when taken").isFalse();
            guest.runTo(ArmGuest.ENDED, SPI.number());
        }
    }

    @Test
    void answerOfTheGuestSignalsAnIoeventfd() {
        EventFd event = event();
        EventFd answer = event();
        made.add(vm.assignIrqfd(event, GSI));
        made.add(vm.assignIoEventFd(IoAddress.mmio(ArmGuest.IN_SERVICE, Integer.BYTES), answer));
        for (int i = 0; i < ROUNDS; i++) {
            event.signal();
            latched(vgic, SPI);
            guest.runTo(ArmGuest.ENDED, SPI.number());
            assertThat(answer.drain()).isEqualTo(1);
        }
    }

    @Test
    void endOfALevelSignalsTheResamplefdAndLowersTheLine() {
        vgic.makeLevel(SPI);
        EventFd event = event();
        EventFd resample = event();
        made.add(vm.assignLevelIrqfd(event, resample, GSI));
        for (int i = 0; i < ROUNDS; i++) {
            event.signal();
            high();
            guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
            assertThat(resample.drain()).as("resamplefd before the end").isZero();
            assertThat(vgic.isHigh(SPI)).isTrue();
            guest.runTo(ArmGuest.ENDED, SPI.number());
            assertThat(resample.drain()).as("resamplefd after the end").isEqualTo(1);
            assertThat(vgic.isHigh(SPI)).isFalse();
        }
    }

    /** The latch of an edge interrupt is cleared when the guest takes the interrupt. */
    @Test
    void latchOfALevelIsClearedAtItsEoi() {
        vgic.makeLevel(SPI);
        vgic.setLatched(SPI, true);
        guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
        assertThat(vgic.isLatched(SPI)).as("latched when taken").isTrue();
        vgic.setLatched(SPI, true);
        guest.runTo(ArmGuest.ENDED, SPI.number());
        assertThat(vgic.isLatched(SPI)).as("also written in between").isFalse();
    }

    @Test
    void vmmReadsWhatTheGuestWroteToItsCpuInterface() {
        vm.arm64().setSpi(SPI, true);
        guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
        assertThat(read(ICC_IGRPEN1_EL1)).isEqualTo(1);
        assertThat(read(ICC_PMR_EL1) & 0xf8).isEqualTo(0xf8);
        assertThat(read(ICC_AP1R0_EL1)).as("active priorities").isNotZero();
        guest.runTo(ArmGuest.ENDED, SPI.number());
        assertThat(read(ICC_AP1R0_EL1)).isZero();
    }

    /** KVM maps the virtual timer to that of the host when the vCPU first runs. */
    @Test
    void vmmCannotWriteTheActiveStateOfAMappedInterrupt() {
        int set = PRIVATE_FRAME + GICD_ISACTIVER.offset();
        vm.arm64().setSpi(SPI, true);
        answers();
        vgic.writeRedistributor(FIRST, set, 1 << TIMER.number() | 1 << PRIVATE.number());
        assertThat(vgic.readRedistributor(FIRST, set)).isEqualTo(1 << PRIVATE.number());
    }

    private long read(CpuInterfaceRegister register) {
        return vgic.readSystemRegister(FIRST, register.id());
    }

    @Test
    void guestTakesAPpiUntilItsLineIsLow() {
        vm.arm64().setPpi(FIRST, PRIVATE, true);
        for (int i = 0; i < ROUNDS; i++) {
            guest.runTo(ArmGuest.IN_SERVICE, PRIVATE.number());
            guest.runTo(ArmGuest.ENDED, PRIVATE.number());
        }
        vm.arm64().setPpi(FIRST, PRIVATE, false);
        vm.arm64().setSpi(SPI, true);
        answers();
    }

    /** As {@code FakeArmVcpuTest.sgisAreTakenByPriority}. */
    @Test
    void guestTakesItsSgisByPriority() {
        start(ArmGuest.SENDS_SGIS + ArmGuest.CODE);
        int priorities = PRIVATE_FRAME + GICD_IPRIORITYR.offset();
        vgic.writeRedistributor(FIRST, priorities, 0x40 << 24);
        vgic.writeRedistributor(FIRST, priorities + Integer.BYTES, 0x80 << 8);
        for (int sgi : new int[] {3, 5}) {
            guest.runTo(ArmGuest.IN_SERVICE, sgi);
            guest.runTo(ArmGuest.ENDED, sgi);
        }
    }

    @Test
    void guestTakesTheMessageOfADevice() {
        OpenedDevice device = vfio.device(TestDevice.EDU);
        device.start();
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        assertOk(world.kernel().irqfdAssign(number, event, GSI.number()));
        for (int i = 0; i < ROUNDS; i++) {
            device.hardware.send(0);
            latched(vgic, SPI);
            answers();
        }
    }

    @Test
    void endOfIntxUnmasksItUntilTheDeviceIsServed() {
        vgic.makeLevel(SPI);
        OpenedDevice device = vfio.device(TestDevice.EDU);
        device.start();
        int event = world.eventfd();
        int resample = world.eventfd();
        assertOk(device.arm(INTX, 0, event));
        assertOk(world.kernel().irqfdAssignLevel(number, event, resample, GSI.number()));
        assertOk(device.unmaskBy(resample));
        device.hardware.request();
        for (int i = 0; i < ROUNDS; i++) {
            high();
            answers();
        }
        high();
        guest.runTo(ArmGuest.IN_SERVICE, SPI.number());
        device.hardware.serve();
        guest.runTo(ArmGuest.ENDED, SPI.number());
        assertOk(device.disable(INTX));
        assertOk(world.kernel().irqfdDeassign(number, event, GSI.number()));
        assertThat(vgic.isHigh(SPI)).isFalse();
        assertThat(vfio.take(event)).as("served, so quiet").isZero();
    }
}
