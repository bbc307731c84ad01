/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.gic.InterruptState.ACTIVE;
import static io.kvmirq.arch.gic.InterruptState.ENABLED;
import static io.kvmirq.arch.gic.InterruptState.LEVEL;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.vcpu.Host;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** vCPU 0 is loaded on CPU 0, vCPU 1 on CPU 1. SPIs 32 and 33 are edge-triggered, 34 and 35 level-triggered. */
class VgicVmTest {
    private static final long PENDING = 1L << 28;
    private static final long ACTIVE_BIT = 1L << 29;
    private static final long EOI = 1L << 19;
    private static final long HW = 1L << 31;

    private final List<Integer> deactivated = new ArrayList<>();
    private final Host host = new Host(0, 1);
    private final VgicVm vm = new VgicVm(host, 2, 32, 2, deactivated::add);
    private final Distributor gic = vm.distributor();
    private final VgicVcpu vcpu = vm.vcpu(0);
    private final VirtualInterface registers = vcpu.registers();
    private final GuestCpuInterface guest = vcpu.guest();

    @BeforeEach
    void load() {
        gic.set(LEVEL, 0, 32, 0xc);
        gic.set(ENABLED, 0, 32, 0xf);
        gic.set(ENABLED, 0, 0, -1);
        gic.set(ENABLED, 1, 0, -1);
        vm.vcpu(0).thread().load(0);
        vm.vcpu(1).thread().load(1);
    }

    private static void assertRefused(ThrowingCallable call, String sentence) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessage(sentence);
    }

    private void enter() {
        assertThat(vcpu.thread().enter()).isTrue();
    }

    private void exitAndMaintain() {
        vcpu.thread().exit();
        host.cpu(0).takeInterrupt();
    }

    @Test
    void edgeIsQueuedTakenAndReleased() {
        gic.setPriority(0, 33, 0xa7);
        gic.raise(0, 33);
        enter();
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

    private boolean guestSleeps() {
        return vcpu.thread().block(true);
    }

    @Test
    void secondEdgeIsAddedToTheListRegisterOfTheFirst() {
        gic.raise(0, 32);
        enter();
        guest.acknowledge();
        gic.raise(0, 32);
        vcpu.thread().exit();
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(32 | PENDING | ACTIVE_BIT);
        assertThat(registers.listRegister(1)).isZero();
        assertThat(guest.acknowledge()).as("active").isEqualTo(GuestCpuInterface.SPURIOUS);
        guest.end(32);
        assertThat(guest.acknowledge()).isEqualTo(32);
    }

    @Test
    void endOfALevelLooksAtTheLine() {
        gic.raise(0, 34);
        enter();
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
        gic.raise(0, 34);
        enter();
        guest.acknowledge();
        gic.lower(0, 34);
        gic.raise(0, 34);
        vcpu.thread().exit();
        enter();
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
        gic.raise(0, 32);
        enter();
        guest.acknowledge();
        gic.set(LEVEL, 0, 32, 1);
        gic.raise(0, 32);
        vcpu.thread().exit();
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(32 | PENDING | ACTIVE_BIT | EOI);
        gic.clear(LEVEL, 0, 32, 1);
        guest.end(32);
        assertThat(guest.acknowledge()).isEqualTo(32);
        guest.end(32);
        assertThat(registers.ended()).isEqualTo(1);
        exitAndMaintain();
        gic.raise(0, 32);
        enter();
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
        vcpu.thread().exit();
        enter();
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
        gic.raise(0, 34);
        enter();
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
        gic.raise(0, 35);
        enter();
        assertThat(registers.empty()).isEqualTo(3);
        assertThat(vm.vcpu(1).thread().enter()).isTrue();
        assertThat(vm.vcpu(1).registers().listRegister(0)).isEqualTo(20 | PENDING | EOI);
        assertThat(vm.vcpu(1).registers().listRegister(1)).isEqualTo(32 | PENDING);
    }

    /** A level that was routed elsewhere while it was in service goes to its new vCPU at its end. */
    @Test
    void endOfAMovedLevelKicksItsNewVcpu() {
        gic.raise(0, 34);
        enter();
        guest.acknowledge();
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
    void hardwareInterruptDeactivatesThePhysicalOne() {
        registers.setListRegister(1, HW | 27L << 10 | PENDING | 27);
        enter();
        assertThat(guest.acknowledge()).isEqualTo(27);
        guest.end(27);
        assertThat(deactivated).containsExactly(27);
        assertThat(registers.status()).isZero();
        assertThat(registers.empty()).isEqualTo(3);
    }

    /** A hardware interrupt is never pending and active: what comes meanwhile waits in the distributor. */
    @Test
    void activeHardwareInterruptIsNotMadePending() {
        registers.setListRegister(0, HW | 27L << 10 | ACTIVE_BIT | 27);
        gic.raise(0, 27);
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(HW | 27L << 10 | ACTIVE_BIT | 27);
        assertThat(gic.pending(0, 0)).isEqualTo(1 << 27);
        guest.end(27);
        exitAndMaintain();
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(27 | PENDING | EOI);
        assertThat(deactivated).containsExactly(27);
    }

    /** A hardware interrupt has no EOI bit: the exit after its end looks at the line. */
    @Test
    void levelOfAHardwareInterruptIsTakenAgain() {
        registers.setListRegister(0, HW | 27L << 10 | PENDING | 27);
        gic.raise(0, 27);
        enter();
        assertThat(guest.acknowledge()).isEqualTo(27);
        guest.end(27);
        vcpu.thread().exit();
        assertThat(vcpu.hasInterrupt()).as("the line is still high").isTrue();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(27);
        gic.lower(0, 27);
        guest.end(27);
        exitAndMaintain();
        gic.raise(0, 27);
        enter();
        assertThat(guest.acknowledge()).isEqualTo(27);
    }

    /** The list register of a hardware interrupt holds it: its high line needs no other one. */
    @Test
    void levelOfAnActiveHardwareInterruptNeedsNoListRegister() {
        registers.setListRegister(0, HW | 27L << 10 | ACTIVE_BIT | 27);
        gic.raise(0, 27);
        enter();
        assertThat(HypervisorControl.UNDERFLOW.isSet(registers.control())).isFalse();
        vcpu.thread().exit();
        registers.setListRegister(0, HW | 33L << 10 | ACTIVE_BIT | 33);
        gic.raise(0, 33);
        enter();
        assertThat(registers.listRegister(0)).as("an edge").isEqualTo(HW | 33L << 10 | ACTIVE_BIT | 33);
        assertThat(gic.pending(0, 32)).isEqualTo(2);
    }

    @Test
    void levelThatIsReplacedInItsListRegisterIsDeliverableAgain() {
        gic.raise(0, 34);
        enter();
        vcpu.thread().exit();
        registers.setListRegister(0, 0);
        assertThat(vcpu.hasInterrupt()).isTrue();
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(34 | PENDING | EOI);
        vcpu.thread().exit();
        registers.setListRegister(0, PENDING | EOI | 35);
        enter();
        assertThat(registers.listRegister(1)).as("35 came into its place").isEqualTo(34 | PENDING | EOI);
        vcpu.thread().exit();
        gic.setTarget(34, 1);
        assertThat(vm.vcpu(1).thread().block(true)).isTrue();
        registers.setListRegister(1, ACTIVE_BIT | EOI | 34);
        assertThat(vm.vcpu(1).thread().isAsleep())
                .as("34 is still in register 1")
                .isTrue();
        registers.setListRegister(1, 0);
        assertThat(vm.vcpu(1).thread().isAsleep()).isFalse();
    }

    /** vCPU 1 is the target of a level whose hardware interrupt vCPU 0 has ended. */
    @Test
    void endOfAMovedHardwareLevelKicksItsNewVcpu() {
        registers.setListRegister(0, HW | 34L << 10 | PENDING | 34);
        gic.raise(0, 34);
        enter();
        guest.acknowledge();
        gic.setTarget(34, 1);
        assertThat(vm.vcpu(1).thread().block(true)).isTrue();
        guest.end(34);
        vcpu.thread().exit();
        assertThat(vm.vcpu(1).thread().isAsleep()).isFalse();
    }

    @Test
    void pendingHardwareInterruptTakesNoEoiBit() {
        registers.setListRegister(0, HW | 27L << 10 | PENDING | 27);
        gic.raise(0, 27);
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(HW | 27L << 10 | PENDING | 27);
        assertThat(registers.listRegister(1)).isZero();
    }

    @Test
    void highestPriorityIsTakenFirstAndPreempts() {
        gic.setPriority(0, 32, 0x50);
        gic.setPriority(0, 33, 0x48);
        gic.raise(0, 32);
        gic.raise(0, 33);
        enter();
        assertThat(guest.acknowledge()).isEqualTo(33);
        assertThat(guest.acknowledge()).as("not above the active one").isEqualTo(GuestCpuInterface.SPURIOUS);
        guest.end(33);
        assertThat(guest.acknowledge()).isEqualTo(32);
        vcpu.thread().exit();
        gic.raise(0, 33);
        enter();
        assertThat(guest.acknowledge()).as("preempts").isEqualTo(33);
    }

    /** In either order of the list registers. */
    @ParameterizedTest
    @CsvSource({"0x10, 0x50, 32", "0x50, 0x10, 1023", "0x50, 0x50, 1023"})
    void pendingInterruptPreemptsActiveOnesOfLowerPriority(int pending, int active, int taken) {
        long pends = PENDING | (long) pending >> 3 << 23 | 32;
        long acts = ACTIVE_BIT | (long) active >> 3 << 23 | 33;
        for (int first = 0; first < 2; first++) {
            registers.setListRegister(0, 0);
            registers.setListRegister(1, 0);
            registers.setListRegister(first, pends);
            registers.setListRegister(1 - first, acts);
            enter();
            assertThat(guest.acknowledge()).as("pending in LR%d", first).isEqualTo(taken);
            vcpu.thread().exit();
        }
    }

    @Test
    void activeInterruptOfEqualPriorityHoldsOthersBack() {
        gic.raise(0, 32);
        enter();
        guest.acknowledge();
        gic.raise(0, 33);
        vcpu.thread().exit();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(GuestCpuInterface.SPURIOUS);
    }

    @Test
    void maskHoldsLowPrioritiesBack() {
        gic.setPriority(0, 32, 0x50);
        gic.raise(0, 32);
        registers.setMachineControl(0x50000003L);
        assertThat(registers.machineControl()).isEqualTo(0x50000003L);
        enter();
        assertThat(guest.acknowledge()).isEqualTo(GuestCpuInterface.SPURIOUS);
        registers.setMachineControl(0x58000003L);
        assertThat(guest.acknowledge()).isEqualTo(32);
    }

    @Test
    void disabledGroupIsNotTaken() {
        gic.set(InterruptState.GROUP1, 0, 32, 2);
        gic.raise(0, 32);
        gic.raise(0, 33);
        enter();
        assertThat(registers.listRegister(0)).isEqualTo(32 | PENDING);
        assertThat(registers.listRegister(1)).isEqualTo(33 | PENDING | 1L << 30);
        registers.setMachineControl(0xf8000000L);
        assertThat(guest.acknowledge()).isEqualTo(GuestCpuInterface.SPURIOUS);
        registers.setMachineControl(0xf8000002L);
        assertThat(guest.acknowledge()).isEqualTo(33);
        guest.end(33);
        registers.setMachineControl(0xf8000001L);
        assertThat(guest.acknowledge()).isEqualTo(32);
    }

    @Test
    void endOfASpecialIdIsIgnored() {
        enter();
        for (int id = 1020; id <= GuestCpuInterface.SPURIOUS; id++) {
            guest.end(id);
        }
        assertThat(registers.control()).isEqualTo(1);
    }

    @Test
    void activeCannotBeWritten() {
        String sentence = "ACTIVE cannot be written: it follows from the list registers at each exit";
        assertRefused(() -> gic.set(ACTIVE, 0, 32, 4), sentence);
        assertRefused(() -> gic.clear(ACTIVE, 0, 32, 4), sentence);
    }

    @Test
    void endOfAnotherInterruptIsCounted() {
        enter();
        for (int i = 0; i < 31; i++) {
            guest.end(40);
        }
        assertThat(HypervisorControl.END_COUNT.of(registers.control())).isEqualTo(31);
        guest.end(40);
        assertThat(registers.control()).isEqualTo(1);
    }

    @Test
    void maintenanceInterruptMayBeHeldBack() {
        gic.raise(0, 34);
        enter();
        guest.acknowledge();
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
        gic.raise(0, 34);
        enter();
        guest.acknowledge();
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
        gic.raise(0, 34);
        enter();
        guest.acknowledge();
        guest.end(34);
        host.cpu(0).takeInterrupt();
        assertThat(vcpu.thread().isInGuestMode()).as("told to exit").isFalse();
        assertThat(registers.ended()).isEqualTo(1);
        assertThat(host.cpu(0).isInterrupted()).isTrue();
        exitAndMaintain();
        assertThat(registers.ended()).isZero();
    }

    @Test
    void guestThatDoesNotRunTakesNothing() {
        assertThatThrownBy(guest::acknowledge)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("the guest of vCPU 0 does not run: the vCPU has to enter first");
        vcpu.thread().preempt();
        assertThatThrownBy(() -> guest.end(1)).isInstanceOf(IllegalStateException.class);
        vcpu.thread().load(0);
        enter();
        vcpu.thread().exit();
        assertThatThrownBy(() -> guest.end(1)).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void whatHardwareForbidsIsRefusedInOneSentence() {
        assertRefused(
                () -> registers.setListRegister(0, HW | 3 << 28 | 27L << 10 | 27),
                "list register 0 cannot be 0xb0006c1b: state: pending and active while hw is 1: the distributor keeps the"
                        + " pending state of a hardware interrupt, expected 0–2");
        assertRefused(
                () -> registers.setListRegister(0, PENDING | 1023),
                "list register 0 cannot be 0x100003ff: virtualid: id 1023 is special: expected an interrupt, 0–1019");
        assertRefused(() -> registers.setListRegister(0, PENDING | 64), "interrupt 64 does not exist: expected 0–63");
        assertRefused(() -> registers.setListRegister(2, 0), "list register 2 does not exist: expected 0–1");
        assertRefused(() -> registers.listRegister(-1), "list register -1 does not exist: expected 0–1");
        assertRefused(
                () -> registers.setListRegister(0, 1L << 32), "word 1 of gic.lr is 0x100000000: expected 32 bits");
        registers.setListRegister(0, PENDING | 32);
        registers.setListRegister(0, ACTIVE_BIT | 32);
        assertRefused(
                () -> registers.setListRegister(1, PENDING | 32),
                "SPI 32 is in list register 0 already: expected it in one");
        registers.setListRegister(0, 0);
        registers.setListRegister(1, PENDING | 32);
        assertRefused(
                () -> registers.setMachineControl(0x20),
                "GICH_VMCR cannot be 0x20: rsvd_5_8: reserved bits 8:5 are 0x1 and not 0");
        assertRefused(() -> new VgicVm(host, 2, 32, 0, deactivated::add), "0 list registers: expected 1–64");
        assertRefused(() -> new VgicVm(host, 2, 32, 65, deactivated::add), "65 list registers: expected 1–64");
        assertRefused(() -> new VgicVm(host, 9, 32, 4, deactivated::add), "9 vCPUs make no GICv2: expected 1–8");
        assertRefused(() -> VirtualInterface.of(gic, 2, 4), "vCPU 2 does not exist: expected 0–1");
        assertRefused(() -> VirtualInterface.of(gic, 0, 0), "0 list registers: expected 1–64");
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
