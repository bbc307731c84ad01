/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.InterruptState.ACTIVE;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.gic.HypervisorControl;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The interrupts that a guest acknowledges and ends: priorities, masks and groups. */
class GuestCpuInterfaceTest extends VgicSetUp {
    GuestCpuInterfaceTest() {
        super(2);
    }

    @Test
    void highestPriorityIsTakenFirstAndPreempts() {
        gic.setPriority(0, 32, 0x50);
        gic.setPriority(0, 33, 0x48);
        gic.raise(0, 32);
        raiseAndEnter(33);
        assertThat(guest.acknowledge()).isEqualTo(33);
        assertThat(guest.acknowledge()).as("not above the active one").isEqualTo(GuestCpuInterface.SPURIOUS);
        guest.end(33);
        assertThat(guest.acknowledge()).isEqualTo(32);
        vcpu.thread().exit();
        raiseAndEnter(33);
        assertThat(guest.acknowledge()).as("preempts").isEqualTo(33);
    }

    /** In either order of the list registers. */
    @ParameterizedTest
    @CsvSource({"0x10, 0x50, 32", "0x50, 0x10, 1023", "0x50, 0x50, 1023"})
    void pendingInterruptPreemptsActiveOnesOfLowerPriority(int pending, int active, int taken) {
        long pends = PENDING | priority(pending) | 32;
        long acts = ACTIVE_BIT | priority(active) | 33;
        for (int first = 0; first < 2; first++) {
            registers.setListRegister(0, 0);
            registers.setListRegister(1, 0);
            registers.setListRegister(first, pends);
            registers.setListRegister(1 - first, acts);
            registers.setActivePriorities(1L << (active >> 3));
            enter();
            assertThat(guest.acknowledge()).as("pending in LR%d", first).isEqualTo(taken);
            vcpu.thread().exit();
        }
    }

    private static long priority(int priority) {
        return (long) priority >> 3 << 23;
    }

    private int endCount() {
        return (int) HypervisorControl.END_COUNT.of(registers.control());
    }

    /** Two interrupts are active: 32 of priority 0x50, and 33 of 0x48, which preempted it. */
    private void nest() {
        gic.setPriority(0, 32, 0x50);
        gic.setPriority(0, 33, 0x48);
        raiseAndAcknowledge(32);
        vcpu.thread().exit();
        raiseAndEnter(33);
        assertThat(guest.acknowledge()).isEqualTo(33);
    }

    @Test
    void priorityIsActiveFromTheAcknowledgeToTheEoi() {
        assertThat(registers.activePriorities()).isZero();
        nest();
        assertThat(registers.activePriorities()).isEqualTo(1 << 0xa | 1 << 0x9);
        guest.end(33);
        assertThat(registers.activePriorities()).isEqualTo(1 << 0xa);
        guest.end(32);
        assertThat(registers.activePriorities()).isZero();
        assertThat(registers.empty()).isEqualTo(3);
    }

    /** The highest priority is dropped, whichever interrupt is named: that is not the priority of this one. */
    @Test
    void endOutOfOrderDropsTheHighestPriorityAndDeactivatesNothing() {
        nest();
        guest.end(32);
        assertThat(registers.activePriorities()).isEqualTo(1 << 0xa);
        assertThat(registers.listRegister(0)).isEqualTo(ACTIVE_BIT | priority(0x50) | 32);
        assertThat(registers.listRegister(1)).isEqualTo(ACTIVE_BIT | priority(0x48) | 33);
        guest.end(32);
        assertThat(registers.activePriorities()).isZero();
        assertThat(registers.listRegister(0)).as("its own priority").isEqualTo(priority(0x50) | 32);
        guest.end(33);
        assertThat(registers.listRegister(1)).as("nothing to drop").isEqualTo(ACTIVE_BIT | priority(0x48) | 33);
        assertThat(endCount()).isZero();
    }

    @Test
    void endWithoutAnActivePriorityIsIgnored() {
        registers.setListRegister(0, ACTIVE_BIT | 32);
        enter();
        guest.end(40);
        guest.end(32);
        assertThat(endCount()).isZero();
        assertThat(registers.listRegister(0)).isEqualTo(ACTIVE_BIT | 32);
    }

    /** KVM may have taken the interrupt out of its list register, which leaves the priority active. */
    @Test
    void endOfAnInterruptThatLeftItsListRegisterIsCountedAndDropsThePriority() {
        raiseAndAcknowledge(32);
        vcpu.thread().exit();
        registers.setListRegister(0, 0);
        raiseAndEnter(33);
        assertThat(guest.acknowledge())
                .as("of the priority that is still active")
                .isEqualTo(1023);
        guest.end(32);
        assertThat(endCount()).isEqualTo(1);
        assertThat(guest.acknowledge()).isEqualTo(33);
    }

    @Test
    void activeInterruptOfEqualPriorityHoldsOthersBack() {
        raiseAndAcknowledge(32);
        gic.raise(0, 33);
        exitAndEnter();
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
        raiseAndEnter(33);
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
        assertIllegalArgument(() -> gic.set(ACTIVE, 0, 32, 4), sentence);
        assertIllegalArgument(() -> gic.clear(ACTIVE, 0, 32, 4), sentence);
    }

    @Test
    void endOfAnotherInterruptIsCountedIfItDropsAPriority() {
        enter();
        registers.setActivePriorities(0xffff_ffffL);
        for (int i = 0; i < 31; i++) {
            guest.end(40);
        }
        assertThat(endCount()).isEqualTo(31);
        guest.end(40);
        assertThat(registers.control()).as("the count wraps").isEqualTo(1);
        registers.setActivePriorities(1);
        guest.end(40);
        assertThat(endCount()).isEqualTo(1);
        guest.end(40);
        assertThat(endCount()).as("no priority is active").isEqualTo(1);
    }

    @Test
    void activePrioritiesAreThirtyTwoBits() {
        assertIllegalArgument(
                () -> registers.setActivePriorities(1L << 32),
                "GICH_APR cannot be 0x100000000: expected 32 bits, one for each priority");
    }

    @Test
    void guestThatDoesNotRunTakesNothing() {
        assertIllegalState(guest::acknowledge, "the guest of vCPU 0 does not run: the vCPU has to enter first");
        vcpu.thread().preempt();
        assertThatThrownBy(() -> guest.end(1)).isInstanceOf(IllegalStateException.class);
        vcpu.thread().load(0);
        enter();
        vcpu.thread().exit();
        assertThatThrownBy(() -> guest.end(1)).isInstanceOf(IllegalStateException.class);
    }
}
