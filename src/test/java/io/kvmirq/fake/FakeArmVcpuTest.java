/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Gsi;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The interrupts that the played guest of arm64 takes, by the registers that a VMM or a driver has written. */
class FakeArmVcpuTest {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    /** No vCPU has its affinity. */
    private static final VcpuId NOBODY = new VcpuId(7);

    private static final Spi SPI = new Spi(42);
    private static final Spi OTHER = new Spi(44);
    private static final Ppi PRIVATE = new Ppi(23);
    private static final int NONE = 1023;
    /** A 1 written clears what the one before has set. */
    private static final Set<DistributorRegister> CLEARING =
            EnumSet.of(DistributorRegister.GICD_ICENABLER, DistributorRegister.GICD_ICACTIVER);

    /** The registers of the host, ICC_CTLR_EL1 first. */
    private static final List<CpuInterfaceRegister> SAVED = List.of(
            CpuInterfaceRegister.ICC_CTLR_EL1,
            CpuInterfaceRegister.ICC_SRE_EL1,
            CpuInterfaceRegister.ICC_PMR_EL1,
            CpuInterfaceRegister.ICC_BPR0_EL1,
            CpuInterfaceRegister.ICC_BPR1_EL1,
            CpuInterfaceRegister.ICC_AP0R0_EL1,
            CpuInterfaceRegister.ICC_AP1R0_EL1,
            CpuInterfaceRegister.ICC_IGRPEN0_EL1,
            CpuInterfaceRegister.ICC_IGRPEN1_EL1);

    private final FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));

    @AutoClose
    private final Undo made = new Undo();

    private final Kernel kernel = made.add(fake.open());
    private Vm vm;
    private VgicV3 vgic;
    private FakeArmVcpu first;
    private FakeArmVcpu second;

    @SuppressWarnings("NullAway.Init")
    FakeArmVcpuTest() {}

    @BeforeEach
    void setUp() {
        vm = made.add(Vm.create(kernel));
        made.add(vm.createVcpu(FIRST)).arm64().initialize();
        made.add(vm.createVcpu(SECOND)).arm64().initialize();
        vgic = made.add(vm.arm64().createVgicV3());
        vgic.init();
        GuestGic.enable(vgic);
        GuestGic.enable(vgic, SPI);
        GuestGic.enable(vgic, OTHER);
        GuestGic.enable(vgic, FIRST);
        GuestGic.enable(vgic, SECOND);
        first = guest(vm, FIRST);
        second = guest(vm, SECOND);
    }

    private FakeArmVcpu guest(Vm of, VcpuId id) {
        return fake.armVcpu(Numbers.of(of.fd()), id);
    }

    private void send(Spi spi) {
        vm.arm64().setSpi(spi, true);
    }

    // The distributor

    /** Linux queues an interrupt when it is signalled: enabling the distributor queues none. */
    @Test
    void guestTakesNothingWhileTheDistributorIsDisabled() {
        GuestGic.disable(vgic);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        GuestGic.enable(vgic);
        assertThat(vgic.isLatched(SPI)).isTrue();
        assertThat(first.acknowledge()).as("it waits for a signal").isEqualTo(NONE);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        send(OTHER);
        GuestGic.disable(vgic);
        GuestGic.enable(vgic);
        assertThat(first.acknowledge()).as("queued all the time").isEqualTo(OTHER.number());
    }

    @Test
    void whatTheGuestEnteredWithoutWaitsForItsNextWrite() {
        send(SPI);
        GuestGic.disable(vgic);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        GuestGic.enable(vgic);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        GuestGic.enable(vgic, SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void levelThatIsActiveStaysQueued() {
        vgic.makeLevel(SPI);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        GuestGic.disable(vgic);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        GuestGic.enable(vgic);
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(first.acknowledge()).as("the line is still high").isEqualTo(SPI.number());
    }

    @Test
    void guestTakesGroup1() {
        int groups = GuestGic.word(DistributorRegister.GICD_IGROUPR, SPI);
        vgic.writeDistributor(groups, ~GuestGic.bit(SPI));
        send(SPI);
        send(OTHER);
        assertThat(first.acknowledge()).isEqualTo(OTHER.number());
        assertThat(first.acknowledge()).as("group 0").isEqualTo(NONE);
        vgic.writeDistributor(groups, -1);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void highestPriorityComesFirst() {
        GuestGic.setPriority(vgic, SPI, 0xa0);
        GuestGic.setPriority(vgic, OTHER, 0x80);
        send(SPI);
        send(OTHER);
        assertThat(first.acknowledge()).isEqualTo(OTHER.number());
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    // The CPU interface

    @Test
    void guestTakesWhatItsCpuInterfaceLetsPass() {
        int mask = CpuInterfaceRegister.ICC_PMR_EL1.id();
        int group1 = CpuInterfaceRegister.ICC_IGRPEN1_EL1.id();
        GuestGic.setPriority(vgic, SPI, 0x80);
        GuestGic.setPriority(vgic, OTHER, 0x88);
        send(SPI);
        send(OTHER);
        vgic.writeSystemRegister(FIRST, group1, 0);
        assertThat(first.acknowledge()).as("group 1 is off").isEqualTo(NONE);
        vgic.writeSystemRegister(FIRST, group1, 1);
        vgic.writeSystemRegister(FIRST, mask, 0x80);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        vgic.writeSystemRegister(FIRST, mask, 0x8f);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        assertThat(first.acknowledge()).as("the mask has 5 bits").isEqualTo(NONE);
        assertThat(vgic.isLatched(OTHER)).as("pending all the same").isTrue();
        vgic.writeSystemRegister(FIRST, mask, 0x90);
        assertThat(first.acknowledge()).isEqualTo(OTHER.number());
    }

    // Routes

    @Test
    void spiGoesToTheVcpuThatItIsRoutedTo() {
        GuestGic.route(vgic, SPI, SECOND);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        assertThat(second.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void routeCountsUntilTheGuestTakesTheInterrupt() {
        send(SPI);
        send(OTHER);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        assertThat(vgic.isLatched(OTHER)).as("not taken").isTrue();
        GuestGic.route(vgic, SPI, SECOND);
        GuestGic.route(vgic, OTHER, SECOND);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        assertThat(second.acknowledge()).isEqualTo(OTHER.number());
        assertThat(second.acknowledge()).as("active on the first").isEqualTo(NONE);
        assertThat(second.end(SPI.number())).isFalse();
        assertThat(first.end(SPI.number())).isTrue();
    }

    @Test
    void spiWithoutAVcpuWaitsForItsNextSignal() {
        GuestGic.route(vgic, SPI, NOBODY);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        GuestGic.route(vgic, SPI, FIRST);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    // The lists of Linux, which VgicDebugfsContract sees on a real kernel

    @Test
    void spiStaysInItsListWhateverIsWrittenAfterwards() {
        send(SPI);
        GuestGic.route(vgic, SPI, NOBODY);
        GuestGic.route(vgic, SPI, FIRST);
        assertThat(first.acknowledge()).as("routed to nowhere and back").isEqualTo(SPI.number());
        assertThat(first.end(SPI.number())).isTrue();
        send(SPI);
        GuestGic.disable(vgic);
        send(SPI);
        GuestGic.enable(vgic);
        assertThat(first.acknowledge())
                .as("signalled again without distributor")
                .isEqualTo(SPI.number());
    }

    /** vCPU 1 is not told: vCPU 0 gives the interrupt to it when it leaves its guest. */
    @Test
    void spiThatIsRoutedElsewhereIsMovedByTheVcpuThatHasIt() {
        send(SPI);
        GuestGic.route(vgic, SPI, SECOND);
        assertThat(second.acknowledge()).isEqualTo(NONE);
        send(SPI);
        assertThat(second.acknowledge()).as("signalled again").isEqualTo(NONE);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        assertThat(second.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void endMovesALevelThatIsStillHigh() {
        vgic.makeLevel(SPI);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        GuestGic.route(vgic, SPI, SECOND);
        assertThat(second.acknowledge()).as("active on the first").isEqualTo(NONE);
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(second.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void spiThatNoVcpuHasWhenItIsMadeActiveWaits() {
        GuestGic.route(vgic, SPI, NOBODY);
        int active = GuestGic.word(DistributorRegister.GICD_ISACTIVER, SPI);
        vgic.writeDistributor(active, GuestGic.bit(SPI));
        assertThat(vgic.readDistributor(active)).isEqualTo(GuestGic.bit(SPI));
        GuestGic.route(vgic, SPI, FIRST);
        assertThat(first.end(SPI.number())).isFalse();
        send(SPI);
        assertThat(first.acknowledge()).as("active").isEqualTo(NONE);
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    /** A configuration queues nothing: a VMM restores it before the lines. */
    @Test
    void lineThatIsRestoredBeforeTheConfigurationWaits() {
        vgic.writeLines(FIRST, InterruptId.FIRST_SPI, GuestGic.bit(SPI));
        vgic.makeLevel(SPI);
        assertThat(vgic.isHigh(SPI)).isTrue();
        assertThat(first.acknowledge()).isEqualTo(NONE);
        send(SPI);
        assertThat(first.acknowledge()).as("a level that is high already").isEqualTo(NONE);
        vm.arm64().setSpi(SPI, false);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    /** What the VMM writes into ISPENDR counts until the end, and each change of the line is a signal. */
    @Test
    void levelThatIsLatchedIsQueuedByItsFallingLine() {
        vgic.makeLevel(SPI);
        GuestGic.disable(vgic);
        send(SPI);
        vgic.setLatched(SPI, true);
        GuestGic.enable(vgic);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        vm.arm64().setSpi(SPI, false);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void ppiIsOfItsVcpu() {
        vgic.writeRedistributor(
                SECOND,
                RedistributorRegister.PRIVATE_FRAME + DistributorRegister.GICD_ISENABLER.offset(),
                1 << PRIVATE.number());
        vm.arm64().setPpi(FIRST, PRIVATE, true);
        vm.arm64().setPpi(SECOND, PRIVATE, true);
        assertThat(first.acknowledge()).as("disabled").isEqualTo(NONE);
        assertThat(second.acknowledge()).isEqualTo(PRIVATE.number());
    }

    // Active interrupts

    @Test
    void takenInterruptIsActiveUntilItsEoi() {
        int active = GuestGic.word(DistributorRegister.GICD_ISACTIVER, SPI);
        vgic.makeLevel(SPI);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        assertThat(vgic.readDistributor(active)).isEqualTo(GuestGic.bit(SPI));
        assertThat(first.acknowledge()).as("active").isEqualTo(NONE);
        vm.arm64().setSpi(SPI, false);
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(vgic.readDistributor(active)).isZero();
        assertThat(first.end(SPI.number())).isFalse();
    }

    @Test
    void edgeOfAnActiveInterruptIsTakenAfterItsEoi() {
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        assertThat(vgic.isLatched(SPI)).isTrue();
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    @Test
    void restoredActiveInterruptIsEndedByTheGuest() {
        vgic.writeDistributor(GuestGic.word(DistributorRegister.GICD_ISACTIVER, SPI), GuestGic.bit(SPI));
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(NONE);
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        vgic.writeDistributor(GuestGic.word(DistributorRegister.GICD_ICACTIVER, SPI), GuestGic.bit(SPI));
        assertThat(first.end(SPI.number())).as("the VMM cleared it").isFalse();
    }

    @Test
    void interruptIsActiveWhereItIsRoutedToWhenItIsMadeActive() {
        int set = GuestGic.word(DistributorRegister.GICD_ISACTIVER, SPI);
        send(SPI);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        vgic.writeDistributor(GuestGic.word(DistributorRegister.GICD_ICACTIVER, SPI), GuestGic.bit(SPI));
        assertThat(first.acknowledge())
                .as("so that it leaves the first one's list")
                .isEqualTo(NONE);
        GuestGic.route(vgic, SPI, SECOND);
        vgic.writeDistributor(set, GuestGic.bit(SPI));
        GuestGic.route(vgic, SPI, FIRST);
        send(SPI);
        assertThat(first.acknowledge()).as("active on the second").isEqualTo(NONE);
        assertThat(second.acknowledge()).as("active").isEqualTo(NONE);
        assertThat(first.end(SPI.number())).isFalse();
        assertThat(second.end(SPI.number())).isTrue();
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    /** The latch of an edge is cleared when the guest takes the interrupt, as ArmGuestContract sees on a real kernel. */
    @Test
    void latchOfALevelIsClearedAtItsEoi() {
        vgic.makeLevel(SPI);
        vgic.setLatched(SPI, true);
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        assertThat(vgic.isLatched(SPI)).isTrue();
        assertThat(first.acknowledge()).as("active").isEqualTo(NONE);
        vgic.setLatched(SPI, true);
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(vgic.isLatched(SPI)).as("also written in between").isFalse();
        assertThat(first.acknowledge()).isEqualTo(NONE);
        vgic.setLatched(SPI, true);
        assertThat(second.acknowledge()).isEqualTo(NONE);
        assertThat(vgic.isLatched(SPI)).as("not taken").isTrue();
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
    }

    // Save and restore

    @Test
    void restoredVmDeliversAsTheSavedOne() {
        GuestGic.route(vgic, SPI, SECOND);
        GuestGic.setPriority(vgic, SPI, 0xa0);
        GuestGic.route(vgic, OTHER, SECOND);
        GuestGic.setPriority(vgic, OTHER, 0x80);
        send(SPI);
        send(OTHER);
        Vm target = made.add(Vm.create(kernel));
        made.add(target.createVcpu(FIRST)).arm64().initialize();
        made.add(target.createVcpu(SECOND)).arm64().initialize();
        VgicV3 restored = made.add(target.arm64().createVgicV3());
        restored.init();
        for (DistributorRegister register : DistributorRegister.values()) {
            if (CLEARING.contains(register)) {
                continue;
            }
            for (int at = register.offset();
                    DistributorRegister.at(at, vgic.interrupts()).orElse(null) == register;
                    at += Integer.BYTES) {
                restored.writeDistributor(at, vgic.readDistributor(at));
                assertThat(restored.readDistributor(at))
                        .as(register + " at " + at)
                        .isEqualTo(vgic.readDistributor(at));
            }
        }
        assertThat(guest(target, FIRST).acknowledge()).isEqualTo(NONE);
        FakeArmVcpu guest = guest(target, SECOND);
        assertThat(guest.acknowledge()).as("CPU interface off").isEqualTo(NONE);
        for (CpuInterfaceRegister register : SAVED) {
            restored.writeSystemRegister(SECOND, register.id(), vgic.readSystemRegister(SECOND, register.id()));
        }
        assertThat(guest.acknowledge()).isEqualTo(OTHER.number());
        assertThat(guest.acknowledge()).isEqualTo(SPI.number());
    }

    // Lines of irqfds

    @Test
    void endSignalsTheResamplefdOfTheGsiThatIsRoutedToThePin() {
        Gsi gsi = new Gsi(300);
        vgic.makeLevel(SPI);
        vm.routes().edit(edit -> edit.remove(new Gsi(SPI.pin())).add(Route.Pin.to(gsi, SPI)));
        EventFd event = made.add(EventFd.create(kernel));
        EventFd resample = made.add(EventFd.create(kernel));
        made.add(vm.assignLevelIrqfd(event, resample, gsi));
        event.signal();
        assertThat(first.acknowledge()).isEqualTo(SPI.number());
        assertThat(resample.drain()).isZero();
        assertThat(first.end(SPI.number())).isTrue();
        assertThat(resample.drain()).isEqualTo(1);
    }

    // LPIs

    @Test
    void lpiNeedsDistributorAndRedistributor() {
        Vm other = made.add(Vm.create(kernel));
        made.add(other.createVcpu(FIRST)).arm64().initialize();
        GuestIts service = new GuestIts(other, 1, made);
        FakeArmVcpu guest = guest(other, FIRST);
        int control = RedistributorRegister.GICR_CTLR.offset();
        service.map(3);
        other.signal(GuestIts.message(3));
        int mask = CpuInterfaceRegister.ICC_PMR_EL1.id();
        service.vgic().writeSystemRegister(FIRST, mask, 0xa0);
        assertThat(guest.acknowledge()).as("masked").isEqualTo(NONE);
        service.vgic().writeSystemRegister(FIRST, mask, 0xa8);
        service.vgic().writeRedistributor(FIRST, control, 0);
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        service.vgic().writeRedistributor(FIRST, control, 1);
        other.signal(GuestIts.message(3));
        assertThat(guest.acknowledge()).isEqualTo(InterruptId.FIRST_LPI + 3);
        other.signal(GuestIts.message(3));
        GuestGic.disable(service.vgic());
        GuestGic.enable(service.vgic());
        assertThat(guest.acknowledge()).as("queued all the time").isEqualTo(InterruptId.FIRST_LPI + 3);
    }

    /** Linux sorts its list by priority, LPIs included: {@code vgic_sort_ap_list()}. The LPI has priority 0xa0. */
    @Test
    void lpiIsTakenByItsPriority() {
        Vm other = made.add(Vm.create(kernel));
        made.add(other.createVcpu(FIRST)).arm64().initialize();
        GuestIts service = new GuestIts(other, 1, made);
        service.map(3);
        GuestGic.enable(service.vgic(), SPI);
        service.vgic().writeDistributor(GuestGic.word(DistributorRegister.GICD_IGROUPR, SPI), GuestGic.bit(SPI));
        FakeArmVcpu guest = guest(other, FIRST);
        int lpi = InterruptId.FIRST_LPI + 3;
        for (int priority : new int[] {0xa8, 0xa0, 0x98}) {
            GuestGic.setPriority(service.vgic(), SPI, priority);
            other.signal(GuestIts.message(3));
            other.arm64().setSpi(SPI, true);
            boolean lpiFirst = priority > 0xa0;
            assertThat(guest.acknowledge()).isEqualTo(lpiFirst ? lpi : SPI.number());
            assertThat(guest.acknowledge()).isEqualTo(lpiFirst ? SPI.number() : lpi);
            assertThat(guest.end(SPI.number())).isTrue();
            other.arm64().setSpi(SPI, false);
        }
    }

    /** MOVI tells no vCPU: the old one gives a pending LPI to the new one when it leaves its guest. */
    @Test
    void lpiThatIsMovedIsGivenUpByTheVcpuThatHasIt() {
        Vm other = made.add(Vm.create(kernel));
        made.add(other.createVcpu(FIRST)).arm64().initialize();
        made.add(other.createVcpu(SECOND)).arm64().initialize();
        GuestIts service = new GuestIts(other, 2, made);
        service.map(2);
        other.signal(GuestIts.message(2));
        service.move(2, 1);
        assertThat(guest(other, SECOND).acknowledge()).isEqualTo(NONE);
        other.signal(GuestIts.message(2));
        assertThat(guest(other, SECOND).acknowledge()).as("signalled again").isEqualTo(NONE);
        assertThat(guest(other, FIRST).acknowledge()).isEqualTo(NONE);
        assertThat(guest(other, SECOND).acknowledge()).isEqualTo(InterruptId.FIRST_LPI + 2);
    }

    /** As an SPI, an LPI is queued when it is signalled. */
    @Test
    void lpiWithoutDistributorWaitsForItsNextMessage() {
        Vm other = made.add(Vm.create(kernel));
        made.add(other.createVcpu(FIRST)).arm64().initialize();
        GuestIts service = new GuestIts(other, 1, made);
        FakeArmVcpu guest = guest(other, FIRST);
        service.map(3);
        GuestGic.disable(service.vgic());
        other.signal(GuestIts.message(3));
        GuestGic.enable(service.vgic());
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        assertThat(guest.isPending(InterruptId.FIRST_LPI + 3)).isTrue();
        other.signal(GuestIts.message(3));
        GuestGic.disable(service.vgic());
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        GuestGic.enable(service.vgic());
        assertThat(guest.acknowledge()).as("the guest entered without").isEqualTo(NONE);
        other.signal(GuestIts.message(3));
        assertThat(guest.acknowledge()).isEqualTo(InterruptId.FIRST_LPI + 3);
    }

    // SGIs

    /** As {@code ArmGuestContract.guestTakesItsSgisByPriority} on real kernels. */
    @Test
    void sgisAreTakenByPriority() {
        groupPrivate();
        int priorities = RedistributorRegister.PRIVATE_FRAME + DistributorRegister.GICD_IPRIORITYR.offset();
        vgic.writeRedistributor(FIRST, priorities, 0x40 << 24);
        vgic.writeRedistributor(FIRST, priorities + Integer.BYTES, 0x80 << 8);
        first.sendSgi(5, FIRST);
        first.sendSgi(5, FIRST);
        first.sendSgi(3, FIRST);
        first.sendSgi(3, FIRST);
        assertThat(second.acknowledge()).isEqualTo(NONE);
        for (int sgi : new int[] {3, 5}) {
            assertThat(first.acknowledge()).isEqualTo(sgi);
            assertThat(first.end(sgi)).isTrue();
        }
        assertThat(first.acknowledge()).as("sent twice, taken once").isEqualTo(NONE);
    }

    @Test
    void sgiReachesItsTargets() {
        groupPrivate();
        first.sendSgiToOthers(1);
        second.sendSgi(2, FIRST, NOBODY);
        assertThat(first.acknowledge()).isEqualTo(2);
        assertThat(second.acknowledge()).isEqualTo(1);
        assertThat(first.end(2) && second.end(1)).isTrue();
        second.sendSgi(2, FIRST, SECOND);
        assertThat(first.acknowledge()).isEqualTo(2);
        assertThat(second.acknowledge()).isEqualTo(2);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> first.sendSgi(16, FIRST))
                .withMessage("SGI 16: expected 0 to 15");
    }

    private void groupPrivate() {
        for (VcpuId vcpu : List.of(FIRST, SECOND)) {
            vgic.writeRedistributor(
                    vcpu, RedistributorRegister.PRIVATE_FRAME + DistributorRegister.GICD_IGROUPR.offset(), -1);
        }
    }
}
