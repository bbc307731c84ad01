/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.InterruptState.ACTIVE;
import static io.kvmirq.arch.gic.model.InterruptState.ENABLED;
import static io.kvmirq.arch.gic.model.InterruptState.LEVEL;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.gic.Maintenance;
import io.kvmirq.arch.vcpu.HostCpus;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which list register holds an interrupt, and when it gives it up. */
class VirtualInterfaceTest extends VgicSetUp {
    VirtualInterfaceTest() {
        super(3);
    }

    private static boolean underflows(VirtualInterface registers) {
        return HypervisorControl.UNDERFLOW.isSet(registers.control());
    }

    // Hardware interrupts

    /** No list register is missing, so no underflow interrupt has to end the guest's run. */
    @ParameterizedTest
    @CsvSource({"1", "3"})
    void edgeOfAnActiveHardwareInterruptLetsTheGuestRun(int count) {
        VgicVm vm = new VgicVm(host, 1, 32, count, deactivated::add);
        vm.distributor().set(ENABLED, 0, 32, 3);
        VgicVcpu only = vm.vcpu(0);
        only.registers().setListRegister(0, HW | 33L << 10 | ACTIVE_BIT | 33);
        only.registers().setActivePriorities(1);
        vm.distributor().raise(0, 33);
        only.thread().load(0);
        assertThat(only.thread().enter()).isTrue();
        assertThat(underflows(only.registers())).isFalse();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        assertThat(vm.distributor().pending(0, 32)).as("waits").isEqualTo(2);
        only.guest().end(33);
        only.thread().exit();
        assertThat(only.thread().block(true)).as("deliverable again").isFalse();
        assertThat(only.thread().enter()).isTrue();
        assertThat(only.guest().acknowledge()).isEqualTo(33);
    }

    /** The underflow interrupt is not for an interrupt that waits for its end. */
    @Test
    void waitingEdgeDoesNotHideAMissingListRegister() {
        registers.setListRegister(0, HW | 33L << 10 | ACTIVE_BIT | 33);
        registers.setListRegister(1, ACTIVE_BIT | 20);
        registers.setListRegister(2, ACTIVE_BIT | 21);
        raiseAndEnter(33);
        assertThat(underflows(registers)).isFalse();
        vcpu.thread().exit();
        raiseAndEnter(32);
        assertThat(underflows(registers)).isTrue();
    }

    @Test
    void sgiOfAnActiveHardwareInterruptWaitsForItsEoi() {
        restoreActive(HW | 20L << 10 | ACTIVE_BIT | 5);
        gic.send(0, 0, 5);
        gic.send(1, 0, 5);
        enter();
        assertThat(underflows(registers)).isFalse();
        assertThat(gic.sources(0, 5)).isEqualTo(1);
        assertThat(registers.listRegister(1)).isEqualTo(PENDING | 1 << 10 | 5);
        guest.end(5);
        exitAndEnter();
        assertThat(gic.sources(0, 5)).isZero();
    }

    // One list register of the VM for each SPI

    @Test
    void edgeThatIsRoutedElsewhereStaysUntilItsEoi() {
        raiseAndAcknowledge(32);
        gic.setTarget(32, 1);
        assertThat(gic.target(32)).isEqualTo(1);
        gic.raise(0, 32);
        assertThat(vcpu.thread().isInGuestMode()).as("kicked").isFalse();
        assertThat(other.hasInterrupt()).isFalse();
        assertThat(other.thread().enter()).isTrue();
        assertThat(other.registers().empty()).isEqualTo(7);
        exitAndEnter();
        assertThat(registers.listRegister(0)).isEqualTo(PENDING | ACTIVE_BIT | 32);
        assertThat(gic.word(ACTIVE, 0, 32)).isEqualTo(1);
        guest.end(32);
        assertThat(guest.acknowledge()).isEqualTo(32);
        guest.end(32);
        vcpu.thread().exit();
        assertThat(gic.word(ACTIVE, 0, 32)).isZero();
        gic.raise(0, 32);
        assertThat(other.thread().isInGuestMode()).as("kicked").isFalse();
        other.thread().exit();
        assertThat(other.thread().enter()).isTrue();
        assertThat(other.guest().acknowledge()).isEqualTo(32);
    }

    @Test
    void edgeThatWaitsForItsEndGoesToItsNewVcpu() {
        restoreActive(HW | 33L << 10 | ACTIVE_BIT | 33);
        enter();
        gic.setTarget(33, 1);
        gic.raise(0, 33);
        assertThat(other.thread().block(true)).isTrue();
        guest.end(33);
        vcpu.thread().exit();
        assertThat(other.thread().isAsleep()).isFalse();
    }

    @Test
    void spiIsWrittenToOneListRegisterOfTheVm() {
        registers.setListRegister(1, PENDING | 32);
        assertIllegalArgument(
                () -> other.registers().setListRegister(0, PENDING | 32),
                "SPI 32 is in a list register of vCPU 0 already: expected it in one");
        registers.setListRegister(1, PENDING | 33);
        other.registers().setListRegister(0, PENDING | 32);
        registers.setListRegister(0, PENDING | 27);
        other.registers().setListRegister(1, PENDING | 27);
        assertThat(other.registers().empty()).isEqualTo(4);
    }

    // Writes

    @Test
    void replacedListRegisterIsNotActive() {
        registers.setListRegister(0, ACTIVE_BIT | 32);
        assertThat(gic.word(ACTIVE, 0, 32)).isEqualTo(1);
        registers.setListRegister(0, ACTIVE_BIT | 33);
        assertThat(gic.word(ACTIVE, 0, 32)).isEqualTo(2);
        registers.setListRegister(0, PENDING | 33);
        assertThat(gic.word(ACTIVE, 0, 32)).isZero();
        registers.setListRegister(0, ACTIVE_BIT | 5);
        registers.setListRegister(1, ACTIVE_BIT | 1 << 10 | 5);
        registers.setListRegister(0, 0);
        assertThat(gic.word(ACTIVE, 0, 0)).as("of the other source").isEqualTo(1 << 5);
        registers.setListRegister(1, 0);
        assertThat(gic.word(ACTIVE, 0, 0)).isZero();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0x10001c05 | vCPU 7 does not exist: expected 0-1",
                "0x00100000 | list register 0 cannot be 0x100000: rsvd_20_22: reserved bits 22:20 are 0x1 and not 0",
                "0x000803ff | list register 0 cannot be 0x803ff: virtualid: id 1023 is special: expected an interrupt,"
                        + " 0-1019",
                "0x9000141b | list register 0 cannot be 0x9000141b: physicalid: id 5 is an SGI: expected a physical"
                        + " PPI or SPI, 16-1019"
            })
    void impossibleListRegisterIsRefused(String word, String sentence) {
        assertIllegalArgument(() -> registers.setListRegister(0, Long.decode(word)), sentence);
        assertThat(registers.listRegister(0)).isZero();
    }

    /** Bits 9:0 of an empty list register are no interrupt. */
    @Test
    void listRegisterIsEmptiedBesideOneThatHoldsSgi0() {
        registers.setListRegister(0, PENDING);
        registers.setListRegister(1, 0);
        assertThat(registers.empty()).isEqualTo(6);
    }

    /** A line of an interrupt that a list register holds by a write is not queued a second time. */
    @Test
    void writtenLevelIsNotQueuedAgain() {
        registers.setListRegister(0, PENDING | EOI | 34);
        assertThat(vcpu.hasInterrupt()).isTrue();
        gic.raise(0, 34);
        assertThat(gic.banks().wanting(0, 34)).isZero();
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(PENDING | EOI | 34);
        assertThat(guest.acknowledge()).isEqualTo(34);
        exitAndEnter();
        assertThat(registers.listRegister(0)).isEqualTo(ACTIVE_BIT | EOI | 34);
    }

    /** An edge is: it joins the one in the list register. */
    @Test
    void writtenEdgeIsQueuedAgain() {
        registers.setListRegister(0, ACTIVE_BIT | 32);
        raiseAndEnter(32);
        assertThat(registers.listRegister(0)).isEqualTo(PENDING | ACTIVE_BIT | 32);
        assertThat(gic.pending(0, 32)).isZero();
    }

    // Ends

    @Test
    void endOfAPendingInterruptIsCountedOnly() {
        raiseAndEnter(32);
        registers.setActivePriorities(1);
        guest.end(32);
        assertThat(registers.listRegister(0)).isEqualTo(PENDING | 32);
        assertThat(HypervisorControl.END_COUNT.of(registers.control())).isEqualTo(1);
    }

    /** A spent list register holds no interrupt, though it is not free. */
    @Test
    void underflowDoesNotCountSpentListRegisters() {
        for (int id : new int[] {16, 17, 18, 19}) {
            gic.raise(0, id);
        }
        enter();
        assertThat(underflows(registers)).isTrue();
        for (int i = 0; i < 3; i++) {
            guest.end(guest.acknowledge());
            assertThat(Maintenance.UNDERFLOW.isSet(registers.status())).isEqualTo(i > 0);
        }
        assertThat(registers.ended()).isEqualTo(7);
    }

    @Test
    void fallingLineIsNotTheLineOfAnEdge() {
        gic.raise(0, 34);
        gic.clear(LEVEL, 0, 32, 4);
        gic.lower(0, 34);
        gic.set(LEVEL, 0, 32, 4);
        assertThat(gic.pending(0, 32)).as("the line stays high").isEqualTo(4);
    }

    @Test
    void sleeperIsOnNoCpu() {
        assertThat(vcpu.thread().block(true)).isTrue();
        assertThat(vcpu.isOn(host.cpu(0))).isFalse();
        vcpu.thread().wake();
        vcpu.thread().load(1);
        assertThat(vcpu.isOn(host.cpu(1))).isTrue();
    }

    // Late maintenance interrupts

    /** It does not move with the vCPU, which may raise another one elsewhere. */
    @Test
    void heldMaintenanceInterruptStaysOnItsCpu() {
        raiseAndAcknowledge(34);
        vm.holdMaintenance();
        guest.end(34);
        vcpu.thread().exit();
        vcpu.thread().preempt();
        other.thread().preempt();
        vcpu.thread().load(1);
        enter();
        other.thread().load(0);
        vm.releaseMaintenance();
        assertThat(host.cpu(0).isInterrupted()).as("raised at the end").isTrue();
        assertThat(host.cpu(1).isInterrupted()).as("raised at the entry").isTrue();
    }

    @Test
    void heldMaintenanceInterruptArrivesOnAnotherCpuThanTheFirst() {
        gic.setTarget(34, 1);
        gic.raise(0, 34);
        assertThat(other.thread().enter()).isTrue();
        other.guest().acknowledge();
        vm.holdMaintenance();
        other.guest().end(34);
        vm.releaseMaintenance();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        assertThat(host.cpu(1).isInterrupted()).isTrue();
    }

    @Test
    void hostHasABitForEachCpu() {
        assertThatThrownBy(() -> new VgicVm(new HostCpus(LongStream.range(0, 65).toArray()), 1, 0, 1, deactivated::add))
                .hasMessage("a host of 65 CPUs: expected 1-64 CPUs under a VGIC");
        VgicVm widest = new VgicVm(new HostCpus(LongStream.range(0, 64).toArray()), 1, 0, 1, deactivated::add);
        widest.vcpu(0).thread().load(63);
        widest.vcpu(0).registers().setListRegister(0, EOI | 20);
        widest.holdMaintenance();
        assertThat(widest.vcpu(0).thread().enter()).isTrue();
        widest.releaseMaintenance();
        assertThat(widest.host().cpu(63).isInterrupted()).isTrue();
    }
}
