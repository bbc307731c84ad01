/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.testing.GuestIts.message;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.vfio.ArmedVectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A device's messages on hosts with GICv3 and GICv4: two vCPUs, a device with two vectors. */
class GicV4Test {
    private static final int LPI = GicV4World.LPI;
    private static final int SECOND = GicV4World.SECOND;
    private static final int NONE = 1023;
    private static final long ELSEWHERE = 0x8000_0000L;

    private static final class Arm extends GicV4World {
        private final ArmedVectors armed = device.msix(0, 2).arm(events);

        Arm(String profile) {
            super(profile);
        }
    }

    private Arm arm = new Arm("gicv4");

    @Test
    void messageIsPendingInTheVpeAndTheHostsCounterStandsStill() {
        arm.forward();
        assertThat(arm.vcpu().hostIrq(LPI)).as("HW").hasValue(32);
        assertThat(arm.hardware.sendMessage(0)).as("the host's handler").isFalse();
        assertThat(arm.counts()).containsExactly(0, 0);
        assertThat(arm.events.get(0).drain()).isZero();
        assertThat(arm.vcpu().isPending(LPI)).isTrue();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(NONE);
        assertThat(Refusals.rules(arm.fake)).contains(VgicAnswer.VLPI_MADE);
    }

    /** Hardware knows neither: they are KVM's. The CPU interface is hardware's. */
    @Test
    void vlpiPassesADisabledDistributorAndRedistributor() {
        arm.forward();
        VcpuId first = new VcpuId(0);
        GuestGic.disable(arm.vgic);
        arm.vgic.writeRedistributor(first, RedistributorRegister.GICR_CTLR.offset(), 0);
        arm.hardware.sendMessage(0);
        arm.vgic.writeSystemRegister(first, CpuInterfaceRegister.ICC_IGRPEN1_EL1.id(), 0);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(NONE);
        arm.vgic.writeSystemRegister(first, CpuInterfaceRegister.ICC_IGRPEN1_EL1.id(), 1);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
    }

    @Test
    void eachVectorReachesTheVcpuOfItsCollection() {
        arm.forward();
        arm.forward(1, message(1));
        arm.hardware.sendMessage(1);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(NONE);
        assertThat(arm.vcpus.get(1).acknowledge()).isEqualTo(SECOND);
        arm.hardware.sendMessage(0);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
        assertThat(arm.counts()).containsExactly(0, 0);
    }

    /** Who comes second connects. */
    @Test
    void irqfdMayComeBeforeTheVector() {
        arm.armed.close();
        arm.forward();
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        arm.device.msix(0, 2).arm(arm.events);
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "6.12,arm64", "6.1,gicv3"})
    void withoutGicV4EveryMessageInterruptsTheHost(String profile) {
        Arm host = new Arm(profile);
        host.forward();
        assertThat(host.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(host.hardware.sendMessage(0)).isTrue();
        assertThat(host.counts()).containsExactly(1, 0);
        assertThat(host.vcpu().acknowledge()).isEqualTo(LPI);
        assertThatThrownBy(host.vcpu()::load)
                .hasMessage("vCPU 0 has no vPE: the host has no GICv4, use a profile with gicv4");
    }

    static Stream<MsiMessage> unusable() {
        return Stream.of(
                message(2),
                new MsiMessage(GuestIts.ITS + 0x1_0040, 0),
                MsiMessage.toIts(ELSEWHERE, GuestIts.DEVICE, 0));
    }

    /** An event that is not mapped, a route without a device id, and one without an ITS. */
    @ParameterizedTest
    @MethodSource("unusable")
    void routeThatNamesNoLpiMakesNoVlpi(MsiMessage message) {
        arm.forward(0, message);
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        assertThat(arm.counts()).containsExactly(1, 0);
        assertThat(Refusals.rules(arm.fake)).contains(VgicAnswer.VLPI_NOT_MADE);
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv4", "6.12,gicv4"})
    void eventThatIsMappedLateIsAVlpiAfterTheIrqfdIsAssignedAgain(String profile) {
        Arm host = new Arm(profile);
        host.service.discard(0);
        Irqfd irqfd = host.forward();
        host.service.map(0);
        assertThat(host.hardware.sendMessage(0)).isTrue();
        assertThat(host.vcpu().acknowledge()).as("delivered by KVM").isEqualTo(LPI);
        irqfd.mask();
        irqfd.unmask();
        assertThat(host.hardware.sendMessage(0)).isFalse();
        assertThat(host.vcpu().acknowledge()).isEqualTo(LPI);
    }

    @Test
    void signalOfTheEventfdReachesTheVpeToo() {
        arm.forward();
        arm.armed.trigger(0);
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
    }

    @Test
    void messageOfAMaskedIrqfdWaitsInItsEventfd() {
        Irqfd irqfd = arm.forward();
        irqfd.mask();
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(NONE);
        irqfd.unmask();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
    }

    // Routes

    @Test
    void changedRouteEndsTheVlpiUntilTheIrqfdIsAssignedAgain() {
        Irqfd irqfd = arm.forward();
        arm.vm.routes().replace(irqfd.gsi(), message(1));
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(arm.vcpu().hostIrq(SECOND)).isEmpty();
        assertThat(arm.hardware.sendMessage(0)).as("through KVM").isTrue();
        assertThat(arm.vcpus.get(1).acknowledge()).isEqualTo(SECOND);
        irqfd.mask();
        irqfd.unmask();
        assertThat(arm.vcpu().hostIrq(SECOND)).isPresent();
        assertThat(arm.hardware.sendMessage(0)).isFalse();
        assertThat(arm.vcpus.get(1).acknowledge()).isEqualTo(SECOND);
        assertThat(Refusals.rules(arm.fake))
                .contains(VgicAnswer.VLPI_ENDS_WITH_ROUTE)
                .doesNotContain(VgicAnswer.VLPI_WARNS);
    }

    @Test
    void equalRouteKeepsTheVlpi() {
        arm.forward();
        arm.vm.routes().add(message(5));
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
    }

    @Test
    void changedRouteLeavesTheOldVlpiOnAnOldKernel() {
        Arm host = new Arm("6.12,gicv4");
        Irqfd irqfd = host.forward();
        host.vm.routes().replace(irqfd.gsi(), message(1));
        assertThat(host.vcpu().hostIrq(LPI)).as("HW of the old LPI").isPresent();
        host.hardware.sendMessage(0);
        assertThat(host.vcpus.get(1).acknowledge()).as("the new route").isEqualTo(NONE);
        assertThat(host.vcpu().acknowledge()).as("the old route").isEqualTo(LPI);
        assertThat(Refusals.rules(host.fake)).contains(VgicAnswer.VLPI_STAYS_BEFORE, VgicAnswer.VLPI_WARNS);
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv4", "6.12,gicv4", "6.1,gicv4"})
    void deassignBeforeTheRouteChangesGivesNoWarning(String profile) {
        Arm host = new Arm(profile);
        Irqfd irqfd = host.forward();
        irqfd.mask();
        host.vm.routes().replace(irqfd.gsi(), message(1));
        irqfd.unmask();
        assertThat(host.hardware.sendMessage(0)).isFalse();
        assertThat(host.vcpus.get(1).acknowledge()).isEqualTo(SECOND);
        irqfd.close();
        assertThat(Refusals.rules(host.fake)).doesNotContain(VgicAnswer.VLPI_WARNS);
    }

    // The end

    @Test
    void vlpiEndsWithTheIrqfdTheVectorAndTheVm() {
        arm.forward().close();
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        arm = new Arm("gicv4");
        arm.forward();
        arm.armed.unwire(0);
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        arm = new Arm("gicv4");
        arm.forward();
        arm.fake.libc().close(Numbers.of(arm.vm.fd()));
        assertThat(arm.hardware.sendMessage(0)).as("the VM's file is closed").isTrue();
    }

    /** GICv4.0: KVM cannot read the pending bit. */
    @Test
    void tablesWithAVlpiCannotBeSaved() {
        Irqfd irqfd = arm.forward();
        assertThatThrownBy(arm.service.its()::saveTables)
                .hasMessageContaining("EACCES")
                .hasMessageContaining("GICv4.0");
        irqfd.mask();
        arm.service.its().saveTables();
    }

    // Residency

    @Test
    void residentVpeTakesMessagesWithoutAnInterrupt() {
        arm.forward();
        assertThat(arm.vcpu().isResident()).isFalse();
        arm.vcpu().load();
        assertThat(arm.vcpu().isResident()).isTrue();
        assertThat(arm.vcpus.get(1).isResident()).isFalse();
        arm.hardware.sendMessage(0);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
    }

    @Test
    void doorbellWakesAVcpuThatBlocks() {
        arm.forward();
        arm.vcpu().load();
        assertThat(arm.vcpu().block()).isTrue();
        assertThat(arm.vcpu().isResident()).isFalse();
        arm.hardware.sendMessage(0);
        assertThat(arm.vcpu().isAsleep()).isFalse();
        assertThat(arm.counts()).as("the doorbell is an interrupt of the vPE").containsExactly(0, 0);
        arm.vcpu().load();
        assertThat(arm.vcpu().isResident()).isTrue();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
    }

    /** Rows of vPEs exist while a VM has them. */
    @Test
    void hostShowsWhetherKvmUsesGicV4() {
        assertThat(new HostFacts(new Arm("gicv3").fake.hostFiles()).posting().gicv4())
                .hasValue(false);
        assertThat(new HostFacts(arm.fake.hostFiles()).posting().gicv4()).hasValue(true);
        arm.fake.libc().close(Numbers.of(arm.vm.fd()));
        assertThat(new HostFacts(arm.fake.hostFiles()).posting().gicv4()).isEmpty();
    }

    @Test
    void doorbellsAreCounted() {
        arm.forward();
        for (int i = 0; i < 3; i++) {
            arm.vcpu().load();
            arm.vcpu().acknowledge();
            arm.vcpu().block();
            arm.hardware.sendMessage(0);
        }
        assertThat(arm.fake.hostFiles().text("proc/interrupts").orElseThrow())
                .contains("512:  3  GICv4-vpe  0-edge  vcpu\n513:  0  GICv4-vpe  1-edge  vcpu\n");
    }

    @Test
    void messageOfAPreemptedVcpuWaitsInTheTable() {
        arm.forward();
        arm.vcpu().load();
        arm.vcpu().preempt();
        arm.hardware.sendMessage(0);
        assertThat(arm.vcpu().isPending(LPI)).isTrue();
        arm.vcpu().load();
        assertThat(arm.vcpu().block()).as("it has an interrupt").isFalse();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
        assertThat(arm.vcpu().block()).isTrue();
    }
}
