/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.Its;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.RedistributorRegister;
import io.kvmirq.fake.rules.ArmRule;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A device's messages on hosts with GICv3 and GICv4: two vCPUs, a device with two vectors. */
class GicV4Test {
    private static final String BDF = "0000:00:03.0";
    private static final int DEVICE = 0x18;
    private static final int LPI = 8200;
    private static final int SECOND = 8201;
    private static final int NONE = 1023;
    private static final long ITS = 0x808_0000L;
    private static final long ELSEWHERE = 0x8000_0000L;

    // In guest memory
    private static final long MEMORY = 0x4000_0000L;
    private static final int RING = 0;
    private static final int DEVICES = 0x1_0000;
    private static final int COLLECTIONS = 0x2_0000;
    private static final int PROPERTIES = 0x3_0000;
    private static final int PENDING = 0x4_0000;
    private static final int EVENTS = 0x6_0000;
    private static final int SIZE = 0x7_0000;

    /** A host, its device, and a guest that has mapped event 0 to an LPI of vCPU 0, and event 1 to one of vCPU 1. */
    private static final class Arm {
        final FakeKernel fake;
        final FakePciDevice hardware;
        final Vm vm;
        final VfioDevice device;
        final io.kvmirq.kvm.Its its;
        final List<FakeArmVcpu> vcpus = new ArrayList<>();
        final List<EventFd> events = new ArrayList<>();
        private final Mapping memory;
        private final ArmedVectors armed;
        private int end;

        Arm(String profile) {
            fake = new FakeKernel(Profile.of(profile));
            hardware = fake.pciDevice(BDF, 4).msix(2).add();
            Kernel kernel = Kernel.over(fake.backend(), Kernel.DEVICE);
            vm = Vm.create(kernel);
            List<VcpuId> ids = List.of(new VcpuId(0), new VcpuId(1));
            ids.forEach(id -> vm.createVcpu(id).initialize());
            VgicV3 vgic = vm.createVgicV3();
            vgic.setDistributor(0x800_0000L);
            vgic.setRedistributors(0x80a_0000L);
            vgic.init();
            its = vm.createIts();
            its.setAddress(ITS);
            its.init();
            memory = vm.addMemory(MEMORY, SIZE).mapping();
            memory.putByte(PROPERTIES + LPI - 8192, (byte) 0xa1);
            memory.putByte(PROPERTIES + SECOND - 8192, (byte) 0xa1);
            for (VcpuId id : ids) {
                write(vgic, id, RedistributorRegister.GICR_PROPBASER, MEMORY + PROPERTIES | 15);
                write(vgic, id, RedistributorRegister.GICR_PENDBASER, MEMORY + PENDING + 0x1_0000L * id.number());
                vgic.writeRedistributor(id, RedistributorRegister.GICR_CTLR.offset(), 1);
            }
            its.writeRegister(Its.CBASER, Its.VALID | MEMORY + RING);
            its.writeRegister(Its.BASER_DEVICES, Its.VALID | MEMORY + DEVICES);
            its.writeRegister(Its.BASER_COLLECTIONS, Its.VALID | MEMORY + COLLECTIONS);
            its.writeRegister(Its.CTLR, Its.ENABLED);
            send(ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS));
            send(ItsCommand.mapCollection(0, 0));
            send(ItsCommand.mapCollection(1, 1));
            mapEvent(0, LPI, 0);
            mapEvent(1, SECOND, 1);
            ids.forEach(id -> vcpus.add(fake.armVcpu(vmNumber(), id)));
            device = VfioDevice.open(kernel, PciAddress.parse(BDF));
            device.config().enableBusMaster();
            events.add(EventFd.create(kernel));
            events.add(EventFd.create(kernel));
            armed = device.msix(0, 2).arm(events);
        }

        private static void write(VgicV3 vgic, VcpuId vcpu, RedistributorRegister register, long value) {
            vgic.writeRedistributor(vcpu, register.offset(), (int) value);
            vgic.writeRedistributor(vcpu, register.offset() + Integer.BYTES, (int) (value >>> Integer.SIZE));
        }

        private void send(long... words) {
            ByteBuffer bytes = ByteBuffer.allocate(ItsCommand.SIZE).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asLongBuffer().put(words);
            memory.put(RING + end, bytes.array());
            end += ItsCommand.SIZE;
            its.writeRegister(Its.CWRITER, end);
        }

        int vmNumber() {
            try (Fd.Lease lease = vm.fd().lease()) {
                return lease.number();
            }
        }

        void mapEvent(int event, int lpi, int collection) {
            send(ItsCommand.mapEvent(DEVICE, event, lpi, collection));
        }

        void discard(int event) {
            send(ItsCommand.DISCARD.ofEvent(DEVICE, event));
        }

        /** A vector of the device is an event of the guest: route, then irqfd. */
        Irqfd forward(int vector, MsiMessage message) {
            Gsi gsi = vm.routes().add(message);
            return vm.assignIrqfd(events.get(vector), gsi);
        }

        Irqfd forward() {
            return forward(0, message(0));
        }

        FakeArmVcpu vcpu() {
            return vcpus.get(0);
        }

        /** How often each vector interrupted the host, as /proc/interrupts says. */
        List<Integer> counts() {
            String interrupts = fake.hostFiles().text("proc/interrupts").orElseThrow();
            assertThat(new HostInterrupts(interrupts).armed(PciAddress.parse(BDF)))
                    .hasSize(2);
            return Pattern.compile("(\\d+)  ITS-PCI-MSIX-")
                    .matcher(interrupts)
                    .results()
                    .map((MatchResult line) -> Integer.parseInt(line.group(1)))
                    .toList();
        }
    }

    private static MsiMessage message(int event) {
        return MsiMessage.toIts(ITS, DEVICE, event);
    }

    @Test
    void messageIsPendingInTheVpeAndTheHostsCounterStandsStill() {
        Arm arm = new Arm("gicv4");
        arm.forward();
        assertThat(arm.vcpu().hostIrq(LPI)).as("HW").hasValue(32);
        assertThat(arm.hardware.sendMessage(0)).as("the host's handler").isFalse();
        assertThat(arm.counts()).containsExactly(0, 0);
        assertThat(arm.events.get(0).drain()).isZero();
        assertThat(arm.vcpu().isPending(LPI)).isTrue();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(NONE);
        assertThat(arm.fake.rulesUsed()).contains(ArmRule.VLPI_MADE);
    }

    @Test
    void eachVectorReachesTheVcpuOfItsCollection() {
        Arm arm = new Arm("gicv4");
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
        Arm arm = new Arm("gicv4");
        arm.armed.close();
        arm.forward();
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        arm.device.msix(0, 2).arm(arm.events);
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "6.12,arm64", "6.1,gicv3"})
    void withoutGicV4EveryMessageInterruptsTheHost(String profile) {
        Arm arm = new Arm(profile);
        arm.forward();
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        assertThat(arm.counts()).containsExactly(1, 0);
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
        assertThatThrownBy(arm.vcpu()::load)
                .hasMessage("vCPU 0 has no vPE: the host has no GICv4, use a profile with gicv4");
    }

    static Stream<MsiMessage> unusable() {
        return Stream.of(message(2), new MsiMessage(ITS + 0x1_0040, 0), MsiMessage.toIts(ELSEWHERE, DEVICE, 0));
    }

    /** An event that is not mapped, a route without a device id, and one without an ITS. */
    @ParameterizedTest
    @MethodSource("unusable")
    void routeThatNamesNoLpiMakesNoVlpi(MsiMessage message) {
        Arm arm = new Arm("gicv4");
        arm.forward(0, message);
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        assertThat(arm.counts()).containsExactly(1, 0);
        assertThat(arm.fake.rulesUsed()).contains(ArmRule.VLPI_NOT_MADE);
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv4", "6.12,gicv4"})
    void eventThatIsMappedLateIsAVlpiAfterTheIrqfdIsAssignedAgain(String profile) {
        Arm arm = new Arm(profile);
        arm.discard(0);
        Irqfd irqfd = arm.forward();
        arm.mapEvent(0, LPI, 0);
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        assertThat(arm.vcpu().acknowledge()).as("delivered by KVM").isEqualTo(LPI);
        irqfd.mask();
        irqfd.unmask();
        assertThat(arm.hardware.sendMessage(0)).isFalse();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
    }

    @Test
    void signalOfTheEventfdReachesTheVpeToo() {
        Arm arm = new Arm("gicv4");
        arm.forward();
        arm.armed.trigger(0);
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
        assertThat(arm.vcpu().acknowledge()).isEqualTo(LPI);
    }

    @Test
    void messageOfAMaskedIrqfdWaitsInItsEventfd() {
        Arm arm = new Arm("gicv4");
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
        Arm arm = new Arm("gicv4");
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
        assertThat(arm.fake.rulesUsed()).contains(ArmRule.VLPI_ENDS_WITH_ROUTE).doesNotContain(ArmRule.VLPI_WARNS);
    }

    @Test
    void equalRouteKeepsTheVlpi() {
        Arm arm = new Arm("gicv4");
        arm.forward();
        arm.vm.routes().add(message(5));
        assertThat(arm.vcpu().hostIrq(LPI)).isPresent();
    }

    @Test
    void changedRouteLeavesTheOldVlpiOnAnOldKernel() {
        Arm arm = new Arm("6.12,gicv4");
        Irqfd irqfd = arm.forward();
        arm.vm.routes().replace(irqfd.gsi(), message(1));
        assertThat(arm.vcpu().hostIrq(LPI)).as("HW of the old LPI").isPresent();
        arm.hardware.sendMessage(0);
        assertThat(arm.vcpus.get(1).acknowledge()).as("the new route").isEqualTo(NONE);
        assertThat(arm.vcpu().acknowledge()).as("the old route").isEqualTo(LPI);
        assertThat(arm.fake.rulesUsed()).contains(ArmRule.VLPI_STAYS_BEFORE, ArmRule.VLPI_WARNS);
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv4", "6.12,gicv4", "6.1,gicv4"})
    void deassignBeforeTheRouteChangesGivesNoWarning(String profile) {
        Arm arm = new Arm(profile);
        Irqfd irqfd = arm.forward();
        irqfd.mask();
        arm.vm.routes().replace(irqfd.gsi(), message(1));
        irqfd.unmask();
        assertThat(arm.hardware.sendMessage(0)).isFalse();
        assertThat(arm.vcpus.get(1).acknowledge()).isEqualTo(SECOND);
        irqfd.close();
        assertThat(arm.fake.rulesUsed()).doesNotContain(ArmRule.VLPI_WARNS);
    }

    // The end

    @Test
    void vlpiEndsWithTheIrqfdTheVectorAndTheVm() {
        Arm arm = new Arm("gicv4");
        arm.forward().close();
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        assertThat(arm.hardware.sendMessage(0)).isTrue();
        arm = new Arm("gicv4");
        arm.forward();
        arm.armed.detach(0);
        assertThat(arm.vcpu().hostIrq(LPI)).isEmpty();
        arm = new Arm("gicv4");
        arm.forward();
        arm.fake.close(arm.vmNumber());
        assertThat(arm.hardware.sendMessage(0)).as("the VM's file is closed").isTrue();
    }

    /** GICv4.0: KVM cannot read the pending bit. */
    @Test
    void tablesWithAVlpiCannotBeSaved() {
        Arm arm = new Arm("gicv4");
        Irqfd irqfd = arm.forward();
        assertThatThrownBy(arm.its::saveTables).hasMessageContaining("EACCES").hasMessageContaining("GICv4.0");
        irqfd.mask();
        arm.its.saveTables();
    }

    // Residency

    @Test
    void residentVpeTakesMessagesWithoutAnInterrupt() {
        Arm arm = new Arm("gicv4");
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
        Arm arm = new Arm("gicv4");
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

    @Test
    void messageOfAPreemptedVcpuWaitsInTheTable() {
        Arm arm = new Arm("gicv4");
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
