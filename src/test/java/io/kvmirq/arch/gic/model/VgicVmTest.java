/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.InterruptState.ACTIVE;
import static io.kvmirq.arch.gic.model.InterruptState.ENABLED;
import static io.kvmirq.arch.gic.model.InterruptState.LEVEL;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.gic.ListRegister;
import org.junit.jupiter.api.Test;

/** Two vCPUs and their list registers: what is queued, taken, ended, and who is told. */
class VgicVmTest extends VgicSetUp {
    VgicVmTest() {
        super(2);
    }

    @Test
    void edgeIsQueuedTakenAndReleased() {
        gic.setPriority(0, 33, 0xa7);
        raiseAndEnter(33);
        assertThat(registers.listRegister(0)).isEqualTo(33 | 0x14L << 23 | PENDING);
        assertThat(gic.pending(0, 32)).isZero();
        assertThat(vcpu.hasInterrupt()).isFalse();
        assertThat(registers.empty()).isEqualTo(2);
        assertThat(guest.acknowledge()).isEqualTo(33);
        assertThat(registers.listRegister(0)).isEqualTo(33 | 0x14L << 23 | ACTIVE_BIT);
        vcpu.thread().exit();
        assertThat(gic.word(ACTIVE, 0, 32)).isEqualTo(2);
        assertThat(vcpu.hasInterrupt()).as("a list register is in use").isTrue();
        enter();
        guest.end(33);
        assertThat(registers.status()).isZero();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        vcpu.thread().exit();
        assertThat(registers.listRegister(0)).isZero();
        assertThat(gic.word(ACTIVE, 0, 32)).isZero();
        assertThat(vcpu.hasInterrupt()).isFalse();
        assertThat(guestSleeps()).isTrue();
    }

    @Test
    void secondEdgeIsAddedToTheListRegisterOfTheFirst() {
        raiseAndAcknowledge(32);
        gic.raise(0, 32);
        exitAndEnter();
        assertThat(registers.listRegister(0)).isEqualTo(32 | PENDING | ACTIVE_BIT);
        assertThat(registers.listRegister(1)).isZero();
        assertThat(guest.acknowledge()).as("active").isEqualTo(GuestCpuInterface.SPURIOUS);
        guest.end(32);
        assertThat(guest.acknowledge()).isEqualTo(32);
    }

    @Test
    void latchOfALevelLastsUntilItsEoi() {
        gic.set(InterruptState.LATCH, 0, 32, 1 << 34 - 32);
        enter();
        assertThat(gic.is(InterruptState.LATCH, 0, 34)).as("queued").isTrue();
        assertThat(guest.acknowledge()).isEqualTo(34);
        exitAndMaintain();
        assertThat(gic.is(InterruptState.LATCH, 0, 34)).as("active").isTrue();
        enter();
        guest.end(34);
        exitAndMaintain();
        assertThat(gic.is(InterruptState.LATCH, 0, 34)).isFalse();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(GuestCpuInterface.SPURIOUS);
    }

    @Test
    void partOfWhatIsPendingStaysInTheDistributor() {
        gic.raise(0, 34);
        registers.syncToCpu(first -> first == 32 ? 1 << 34 - 32 : 0);
        assertThat(registers.listRegister(0)).isZero();
        registers.syncToCpu(first -> 0);
        assertThat(ListRegister.VIRTUAL_ID.of(registers.listRegister(0))).isEqualTo(34);
    }

    @Test
    void endOfALevelLooksAtTheLine() {
        raiseAndEnter(34);
        assertThat(registers.listRegister(0)).isEqualTo(34 | PENDING | EOI);
        assertThat(guest.acknowledge()).isEqualTo(34);
        guest.end(34);
        assertThat(registers.ended()).isEqualTo(1);
        assertThat(registers.empty())
                .as("register 0 awaits its maintenance interrupt")
                .isEqualTo(2);
        assertThat(registers.status()).isEqualTo(1);
        assertThat(host.cpu(0).isInterrupted()).isTrue();
        vcpu.thread().exit();
        assertThat(registers.listRegister(0)).isEqualTo(34 | EOI);
        assertThat(vcpu.hasInterrupt()).isTrue();
        host.cpu(0).takeInterrupt();
        assertThat(registers.listRegister(0)).isZero();
        assertThat(registers.ended()).isZero();
        enter();
        assertThat(guest.acknowledge()).as("the line is still high").isEqualTo(34);
        gic.lower(0, 34);
        guest.end(34);
        exitAndMaintain();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(GuestCpuInterface.SPURIOUS);
    }

    /** Only one list register holds a level, whatever its line does meanwhile. */
    @Test
    void levelThatFallsAndRisesInServiceIsTakenAgain() {
        raiseAndAcknowledge(34);
        gic.lower(0, 34);
        gic.raise(0, 34);
        exitAndEnter();
        assertThat(registers.listRegister(0)).isEqualTo(34 | ACTIVE_BIT | EOI);
        assertThat(registers.listRegister(1)).isZero();
        guest.end(34);
        exitAndMaintain();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(34);
    }

    /** An interrupt that became level-triggered in service is asked for its end from then on. */
    @Test
    void modeMayChangeInService() {
        raiseAndAcknowledge(32);
        gic.set(LEVEL, 0, 32, 1);
        gic.raise(0, 32);
        exitAndEnter();
        assertThat(registers.listRegister(0)).isEqualTo(32 | PENDING | ACTIVE_BIT | EOI);
        gic.clear(LEVEL, 0, 32, 1);
        guest.end(32);
        assertThat(guest.acknowledge()).isEqualTo(32);
        guest.end(32);
        assertThat(registers.ended()).isEqualTo(1);
        exitAndMaintain();
        raiseAndEnter(32);
        assertThat(guest.acknowledge()).isEqualTo(32);
    }

    @Test
    void sourcesOfAnSgiAreInterruptsOfTheirOwn() {
        gic.send(0, 0, 5);
        gic.send(1, 0, 5);
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(5 | PENDING);
        assertThat(registers.listRegister(1)).isEqualTo(5 | 1 << 10 | PENDING);
        assertThat(registers.control()).as("nothing is left").isEqualTo(1);
        assertThat(vcpu.hasInterrupt()).isFalse();
        assertThat(guest.acknowledge()).isEqualTo(5);
        guest.end(5 | 1 << 10);
        assertThat(registers.listRegister(0)).as("another source was ended").isEqualTo(5 | ACTIVE_BIT);
        gic.send(1, 0, 5);
        exitAndEnter();
        assertThat(gic.sources(0, 5)).as("added to register 1").isZero();
        guest.end(5);
        assertThat(guest.acknowledge()).isEqualTo(5 | 1 << 10);
        vcpu.thread().exit();
        assertThat(gic.word(ACTIVE, 0, 0)).isEqualTo(1 << 5);
    }

    @Test
    void whatFindsNoListRegisterStaysPending() {
        gic.send(1, 0, 3);
        gic.raise(0, 20);
        gic.raise(0, 32);
        raiseAndEnter(34);
        assertThat(registers.listRegister(0)).isEqualTo(3 | 1 << 10 | PENDING);
        assertThat(registers.listRegister(1)).isEqualTo(20 | PENDING | EOI);
        assertThat(gic.pending(0, 32)).isEqualTo(5);
        assertThat(HypervisorControl.UNDERFLOW.isSet(registers.control())).isTrue();
        assertThat(vcpu.hasInterrupt()).isTrue();
        assertThat(registers.status()).as("two are in use").isZero();
        guest.acknowledge();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        guest.end(3 | 1 << 10);
        assertThat(registers.status()).as("underflow").isEqualTo(2);
        assertThat(host.cpu(0).isInterrupted()).isTrue();
        exitAndMaintain();
        assertThat(HypervisorControl.UNDERFLOW.isSet(registers.control())).isFalse();
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(32 | PENDING);
        assertThat(gic.pending(0, 32)).isEqualTo(4);
    }

    @Test
    void onlyInterruptsOfTheVcpuAreQueued() {
        gic.setTarget(32, 1);
        gic.raise(0, 32);
        gic.raise(1, 20);
        gic.clear(ENABLED, 0, 32, 8);
        raiseAndEnter(35);
        assertThat(registers.empty()).isEqualTo(3);
        assertThat(vm.vcpu(1).thread().enter()).isTrue();
        assertThat(vm.vcpu(1).registers().listRegister(0)).isEqualTo(20 | PENDING | EOI);
        assertThat(vm.vcpu(1).registers().listRegister(1)).isEqualTo(32 | PENDING);
    }

    /** A level that was routed elsewhere while it was in service goes to its new vCPU at its end. */
    @Test
    void endOfAMovedLevelKicksItsNewVcpu() {
        raiseAndAcknowledge(34);
        gic.setTarget(34, 1);
        assertThat(vm.vcpu(1).thread().block(true)).isTrue();
        guest.end(34);
        exitAndMaintain();
        assertThat(vm.vcpu(1).thread().isAsleep()).isFalse();
        assertThat(vm.vcpu(1).hasInterrupt()).isTrue();
    }

    @Test
    void senderWakesASleeperAndKicksAGuest() {
        assertThat(guestSleeps()).isTrue();
        gic.send(1, 0, 1);
        assertThat(vcpu.thread().isAsleep()).isFalse();
        vcpu.thread().load(0);
        vcpu.thread().unblock();
        enter();
        gic.raise(0, 32);
        assertThat(vcpu.thread().isInGuestMode()).as("kicked").isFalse();
        vcpu.thread().exit();
        gic.raise(0, 33);
        assertThat(guestSleeps()).as("an interrupt waits").isFalse();
        gic.raise(0, 40);
        assertThat(gic.pending(0, 32)).as("40 is disabled").isNotZero();
    }

    @Test
    void maintenanceInterruptMayBeHeldBack() {
        raiseAndAcknowledge(34);
        vm.holdMaintenance();
        guest.end(34);
        exitAndMaintain();
        assertThat(registers.ended()).isEqualTo(1);
        vm.releaseMaintenance();
        assertThat(host.cpu(0).isInterrupted()).isTrue();
        assertThat(host.cpu(1).isInterrupted()).isFalse();
        host.cpu(0).takeInterrupt();
        assertThat(registers.ended()).isZero();
        vm.releaseMaintenance();
        assertThat(host.cpu(0).isInterrupted()).as("it arrives once").isFalse();
        enter();
        guest.acknowledge();
        guest.end(34);
        assertThat(host.cpu(0).isInterrupted()).as("at once again").isTrue();
    }

    /** The limit: the handler serves the vCPU that is on the CPU. The other one waits until it is loaded again. */
    @Test
    void lateMaintenanceInterruptFindsTheWrongVcpu() {
        raiseAndAcknowledge(34);
        vm.holdMaintenance();
        guest.end(34);
        vcpu.thread().exit();
        vcpu.thread().preempt();
        vm.vcpu(1).thread().preempt();
        vm.vcpu(1).thread().load(0);
        vm.releaseMaintenance();
        host.cpu(0).takeInterrupt();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        assertThat(registers.ended()).isEqualTo(1);
        vcpu.thread().load(1);
        enter();
        assertThat(host.cpu(1).isInterrupted())
                .as("hardware sees the cause again")
                .isTrue();
        vcpu.thread().exit();
        host.cpu(1).takeInterrupt();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(34);
    }

    @Test
    void maintenanceInterruptMakesItsGuestExitFirst() {
        raiseAndAcknowledge(34);
        guest.end(34);
        host.cpu(0).takeInterrupt();
        assertThat(vcpu.thread().isInGuestMode()).as("told to exit").isFalse();
        assertThat(registers.ended()).isEqualTo(1);
        assertThat(host.cpu(0).isInterrupted()).isTrue();
        exitAndMaintain();
        assertThat(registers.ended()).isZero();
    }

    @Test
    void whatHardwareForbidsIsRefusedInOneSentence() {
        assertIllegalArgument(
                () -> registers.setListRegister(0, HW | 3 << 28 | 27L << 10 | 27),
                "list register 0 cannot be 0xb0006c1b: state: pending and active while hw is 1: the distributor keeps"
                        + " the pending state of a hardware interrupt, expected 0-2");
        assertIllegalArgument(
                () -> registers.setListRegister(0, PENDING | 1023),
                "list register 0 cannot be 0x100003ff: virtualid: id 1023 is special: expected an interrupt, 0-1019");
        assertIllegalArgument(
                () -> registers.setListRegister(0, PENDING | 64), "interrupt 64 does not exist: expected 0-63");
        assertIllegalArgument(() -> registers.setListRegister(2, 0), "list register 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> registers.listRegister(-1), "list register -1 does not exist: expected 0-1");
        assertIllegalArgument(
                () -> registers.setListRegister(0, 1L << 32), "word 1 of gic.lr is 0x100000000: expected 32 bits");
        registers.setListRegister(0, PENDING | 32);
        registers.setListRegister(0, ACTIVE_BIT | 32);
        assertIllegalArgument(
                () -> registers.setListRegister(1, PENDING | 32),
                "SPI 32 is in list register 0 already: expected it in one");
        registers.setListRegister(0, 0);
        registers.setListRegister(1, PENDING | 32);
        assertIllegalArgument(
                () -> registers.setMachineControl(0x20),
                "GICH_VMCR cannot be 0x20: rsvd_5_8: reserved bits 8:5 are 0x1 and not 0");
        assertIllegalArgument(() -> new VgicVm(host, 2, 32, 0, deactivated::add), "0 list registers: expected 1-64");
        assertIllegalArgument(() -> new VgicVm(host, 2, 32, 65, deactivated::add), "65 list registers: expected 1-64");
        assertIllegalArgument(
                () -> new VgicVm(host, 9, 32, 4, deactivated::add),
                "9 vCPUs are out of range for a GICv2: expected 1-8");
        assertIllegalArgument(() -> VirtualInterface.create(gic, 2, 4), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> VirtualInterface.create(gic, 0, 0), "0 list registers: expected 1-64");
        assertThat(new VgicVm(host, 8, 988, 64, deactivated::add)
                        .vcpu(7)
                        .registers()
                        .empty())
                .isEqualTo(-1);
    }

    @Test
    void partsAreNamed() {
        assertThat(vm.vcpus()).isEqualTo(2);
        assertThat(vm.vcpu(1).index()).isEqualTo(1);
        assertThat(vm.host()).isSameAs(host);
        assertThat(registers.registers()).isEqualTo(2);
        assertThat(registers.control()).isEqualTo(1);
        assertThat(registers.machineControl()).isEqualTo(0xf8000003L);
    }
}
