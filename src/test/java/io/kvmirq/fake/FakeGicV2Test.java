/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.arch.gic.model.DistributorRegister.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.NotModelledException;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The interrupts that the played guest of a GICv2 takes; VgicV2GuestContract sees a real guest do the same. */
class FakeGicV2Test {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    private static final Spi SPI = new Spi(42);
    private static final Spi OTHER = new Spi(44);
    private static final Ppi PRIVATE = new Ppi(23);
    private static final int NONE = 1023;
    /** The answer of GICC_IAR for an interrupt that AckCtl keeps from it. */
    private static final int OF_GROUP1 = 1022;

    private static final int GROUP0 = 1;
    private static final int GROUP1 = 2;
    private static final int ACK_CONTROL = 4;
    /** GICD_SGIR, to vCPU 0. */
    private static final int SEND = 0xf00;

    private static final int TO_FIRST = 1 << 16;
    private static final int GICC_CTLR = 0;
    private static final int GICC_PMR = 4;
    private static final int GICC_DIR = 0x1000;

    @AutoClose
    private final Undo made = new Undo();

    private FakeKernel fake;
    private Vm vm;
    private VgicV2 vgic;

    @SuppressWarnings("NullAway.Init")
    FakeGicV2Test() {}

    @BeforeEach
    void setUp() {
        start("6.12,gicv2");
    }

    private void start(String profile) {
        fake = new FakeKernel(Profile.parse(profile));
        vm = made.add(Vm.create(made.add(fake.open())));
        made.add(vm.createVcpu(FIRST)).arm64().initialize();
        made.add(vm.createVcpu(SECOND)).arm64().initialize();
        vgic = made.add(vm.arm64().createVgicV2());
        vgic.init();
        vgic.writeDistributor(GICD_CTLR.offset(), 1);
        vgic.writeDistributor(GICD_ISENABLER.offset(), 1 << PRIVATE.number());
        vgic.writeDistributor(GICD_ISENABLER.offset() + 4, 1 << SPI.number() - 32 | 1 << OTHER.number() - 32);
        for (VcpuId vcpu : new VcpuId[] {FIRST, SECOND}) {
            vgic.writeCpuInterface(vcpu, GICC_PMR, 0x1f);
            vgic.writeCpuInterface(vcpu, GICC_CTLR, 1);
        }
    }

    private FakeArmVcpu guest(VcpuId id) {
        return fake.armVcpu(Numbers.of(vm.fd()), id);
    }

    private int word(int offset) {
        return vgic.readDistributor(offset);
    }

    @Test
    void guestTakesEachSignalOfAnEventfd() {
        EventFd event = made.add(EventFd.create(vm.kernel()));
        made.add(vm.assignIrqfd(event, new Gsi(SPI.pin())));
        FakeArmVcpu guest = guest(FIRST);
        for (int i = 0; i < 3; i++) {
            event.signal();
            assertThat(guest.acknowledge()).isEqualTo(SPI.number());
            assertThat(word(GICD_ISPENDR.offset() + 4)).isZero();
            assertThat(word(GICD_ISACTIVER.offset() + 4)).isEqualTo(1 << SPI.number() - 32);
            assertThat(guest.acknowledge()).isEqualTo(NONE);
            assertThat(guest.end(SPI.number())).isTrue();
            assertThat(word(GICD_ISACTIVER.offset() + 4)).isZero();
        }
    }

    @Test
    void playedGuestSendsSgisAsByItsRegister() {
        guest(SECOND).sendSgi(3, FIRST);
        guest(FIRST).sendSgiToOthers(4);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(3 | SECOND.number() << 10);
        assertThat(guest(SECOND).acknowledge()).isEqualTo(4);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(NONE);
    }

    @Test
    void endOfALevelSignalsTheResamplefdAndLowersTheLine() {
        vgic.makeLevel(SPI);
        EventFd event = made.add(EventFd.create(vm.kernel()));
        EventFd resample = made.add(EventFd.create(vm.kernel()));
        made.add(vm.assignLevelIrqfd(event, resample, new Gsi(SPI.pin())));
        event.signal();
        assertThat(guest(FIRST).acknowledge()).isEqualTo(SPI.number());
        assertThat(word(GICD_ISPENDR.offset() + 4)).as("the line").isNotZero();
        assertThat(resample.drain()).isZero();
        assertThat(guest(FIRST).end(SPI.number())).isTrue();
        assertThat(resample.drain()).isEqualTo(1);
        assertThat(word(GICD_ISPENDR.offset() + 4)).isZero();
    }

    /** Two sources are two interrupts, the lowest vCPU's first. */
    @Test
    void guestTakesAnSgiOfEachSource() {
        vgic.writeDistributor(SECOND, SEND, TO_FIRST | 5);
        vgic.writeDistributor(FIRST, SEND, TO_FIRST | 5);
        FakeArmVcpu guest = guest(FIRST);
        assertThat(guest(SECOND).acknowledge()).isEqualTo(NONE);
        assertThat(guest.acknowledge()).isEqualTo(5);
        assertThat(word(GICD_ISPENDR.offset())).as("the other one").isEqualTo(1 << 5);
        assertThat(guest.acknowledge()).as("one at a time").isEqualTo(NONE);
        assertThat(guest.end(1 << 10 | 5)).isFalse();
        assertThat(guest.end(5)).isTrue();
        assertThat(guest.acknowledge()).isEqualTo(1 << 10 | 5);
        assertThat(guest.end(1 << 10 | 5)).isTrue();
        assertThat(word(GICD_ISPENDR.offset())).isZero();
    }

    @Test
    void sgiThatWaitsKeepsItsSource() {
        vgic.writeDistributor(SECOND, SEND, TO_FIRST | 5);
        vgic.writeCpuInterface(FIRST, GICC_PMR, 0);
        assertThat(guest(FIRST).acknowledge()).as("all are masked").isEqualTo(NONE);
        assertThat(word(0xf24)).isEqualTo(0b10 << 8);
        vgic.writeCpuInterface(FIRST, GICC_PMR, 0x1f);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(1 << 10 | 5);
    }

    @Test
    void spiGoesToItsLowestTarget() {
        int offset = GICD_ITARGETSR.offset() + SPI.number() / 4 * 4;
        vgic.writeDistributor(offset, 0b10 << SPI.number() % 4 * 8);
        vm.arm64().setSpi(SPI, true);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(NONE);
        assertThat(guest(SECOND).acknowledge()).isEqualTo(SPI.number());
        assertThat(guest(SECOND).end(SPI.number())).isTrue();
        vgic.writeDistributor(offset, 0b11 << SPI.number() % 4 * 8);
        vm.arm64().setSpi(SPI, true);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void guestTakesOfEnabledGroupsOnly() {
        vgic.writeDistributor(GICD_IIDR.offset(), word(GICD_IIDR.offset()));
        vgic.writeDistributor(GICD_IGROUPR.offset() + 4, 1 << SPI.number() - 32);
        vm.arm64().setSpi(SPI, true);
        vm.arm64().setSpi(OTHER, true);
        vgic.writeCpuInterface(FIRST, GICC_CTLR, GROUP1 | ACK_CONTROL);
        FakeArmVcpu guest = guest(FIRST);
        assertThat(guest.acknowledge()).isEqualTo(SPI.number());
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        vgic.writeCpuInterface(FIRST, GICC_CTLR, GROUP0);
        assertThat(guest.acknowledge()).isEqualTo(OTHER.number());
    }

    @Test
    void interruptOfGroup1StaysPendingWithoutAckCtl() {
        vgic.writeDistributor(GICD_IIDR.offset(), word(GICD_IIDR.offset()));
        vgic.writeDistributor(GICD_IGROUPR.offset() + 4, 1 << SPI.number() - 32);
        vm.arm64().setSpi(SPI, true);
        vgic.writeCpuInterface(FIRST, GICC_CTLR, GROUP0 | GROUP1);
        FakeArmVcpu guest = guest(FIRST);
        assertThat(guest.acknowledge()).isEqualTo(OF_GROUP1);
        assertThat(word(GICD_ISPENDR.offset() + 4)).isEqualTo(1 << SPI.number() - 32);
        assertThat(word(GICD_ISACTIVER.offset() + 4)).isZero();
        vgic.writeCpuInterface(FIRST, GICC_CTLR, GROUP0 | GROUP1 | ACK_CONTROL);
        assertThat(guest.acknowledge()).isEqualTo(SPI.number());
        assertThat(guest.end(SPI.number())).isTrue();
    }

    @Test
    void highestPriorityIsTakenAlsoIfMoreArePendingThanListRegistersExist() {
        Spi urgent = new Spi(50);
        vgic.writeDistributor(GICD_ISENABLER.offset() + 4, -1);
        for (int id = 32; id < 48; id += 4) {
            vgic.writeDistributor(GICD_IPRIORITYR.offset() + id, 0xf0f0_f0f0);
        }
        for (int id = 32; id < 48; id++) {
            vm.arm64().setSpi(new Spi(id), true);
        }
        vgic.writeCpuInterface(FIRST, GICC_PMR, 0x10);
        FakeArmVcpu guest = guest(FIRST);
        vm.arm64().setSpi(urgent, true);
        assertThat(guest.acknowledge()).isEqualTo(urgent.number());
        assertThat(guest.acknowledge()).as("the others are masked").isEqualTo(NONE);
        assertThat(guest.end(urgent.number())).isTrue();
        vgic.writeCpuInterface(FIRST, GICC_PMR, 0x1f);
        vm.arm64().setSpi(urgent, true);
        assertThat(guest.acknowledge()).isEqualTo(urgent.number());
        assertThat(guest.acknowledge()).isEqualTo(32);
    }

    @Test
    void rulesOfAGicV3AreNotUsed() {
        vm.arm64().setSpi(SPI, true);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(SPI.number());
        assertThat(guest(FIRST).end(SPI.number())).isTrue();
        assertThat(Refusals.rules(fake))
                .contains(VgicAnswer.GICV2_MASK)
                .doesNotContain(VgicAnswer.VGIC_MASK, VgicAnswer.VGIC_LEVEL_LATCH);
        vgic.makeLevel(SPI);
        vm.arm64().setSpi(SPI, true);
        assertThat(guest(FIRST).acknowledge()).isEqualTo(SPI.number());
        assertThat(guest(FIRST).end(SPI.number())).isTrue();
        assertThat(Refusals.rules(fake)).contains(VgicAnswer.VGIC_LEVEL_LATCH);
    }

    @Test
    void ownTargetIsTheIdOfTheVcpuSince614() {
        assertThat(ownTarget("6.12,gicv2")).isEqualTo(0x0101_0101);
        assertThat(ownTarget("6.18,gicv2")).isEqualTo(0x2020_2020);
    }

    private int ownTarget(String profile) {
        start(profile);
        Vm other = made.add(Vm.create(vm.kernel()));
        VcpuId id = new VcpuId(5);
        made.add(other.createVcpu(id)).arm64().initialize();
        VgicV2 created = made.add(other.arm64().createVgicV2());
        created.init();
        return created.readDistributor(id, GICD_ITARGETSR.offset());
    }

    @Test
    void ppiIsTakenUntilItsLineIsLow() {
        vm.arm64().setPpi(FIRST, PRIVATE, true);
        FakeArmVcpu guest = guest(FIRST);
        for (int i = 0; i < 2; i++) {
            assertThat(guest.acknowledge()).isEqualTo(PRIVATE.number());
            assertThat(guest.end(PRIVATE.number())).isTrue();
        }
        vm.arm64().setPpi(FIRST, PRIVATE, false);
        assertThat(guest.acknowledge()).isEqualTo(NONE);
    }

    /** Since 6.19 KVM handles GICC_DIR; before there is no such register. */
    @Test
    void deactivationByAVmmIsNotModelled() {
        vgic.writeCpuInterface(FIRST, GICC_DIR, 5);
        start("7.1,gicv2");
        assertThatThrownBy(() -> vgic.writeCpuInterface(FIRST, GICC_DIR, 5))
                .isInstanceOf(NotModelledException.class)
                .hasMessageContaining("GICC_DIR");
    }
}
