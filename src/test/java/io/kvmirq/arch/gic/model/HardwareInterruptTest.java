/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.HypervisorControl;
import org.junit.jupiter.api.Test;

/** Interrupts of the guest whose end deactivates a physical one. */
class HardwareInterruptTest extends VgicSetUp {
    HardwareInterruptTest() {
        super(2);
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
        restoreActive(HW | 27L << 10 | ACTIVE_BIT | 27);
        raiseAndEnter(27);
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
        raiseAndEnter(27);
        assertThat(guest.acknowledge()).isEqualTo(27);
        guest.end(27);
        vcpu.thread().exit();
        assertThat(vcpu.hasInterrupt()).as("the line is still high").isTrue();
        enter();
        assertThat(guest.acknowledge()).isEqualTo(27);
        gic.lower(0, 27);
        guest.end(27);
        exitAndMaintain();
        raiseAndEnter(27);
        assertThat(guest.acknowledge()).isEqualTo(27);
    }

    /** The list register of a hardware interrupt holds it: its high line needs no other one. */
    @Test
    void levelOfAnActiveHardwareInterruptNeedsNoListRegister() {
        registers.setListRegister(0, HW | 27L << 10 | ACTIVE_BIT | 27);
        raiseAndEnter(27);
        assertThat(HypervisorControl.UNDERFLOW.isSet(registers.control())).isFalse();
        vcpu.thread().exit();
        registers.setListRegister(0, HW | 33L << 10 | ACTIVE_BIT | 33);
        raiseAndEnter(33);
        assertThat(registers.listRegister(0)).as("an edge").isEqualTo(HW | 33L << 10 | ACTIVE_BIT | 33);
        assertThat(gic.pending(0, 32)).isEqualTo(2);
    }

    @Test
    void levelThatIsReplacedInItsListRegisterIsDeliverableAgain() {
        raiseAndEnter(34);
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
        raiseAndAcknowledge(34);
        gic.setTarget(34, 1);
        assertThat(vm.vcpu(1).thread().block(true)).isTrue();
        guest.end(34);
        vcpu.thread().exit();
        assertThat(vm.vcpu(1).thread().isAsleep()).isFalse();
    }

    /** Only an active one stays in the distributor. */
    @Test
    void pendingHardwareInterruptTakesASecondEdge() {
        registers.setListRegister(0, HW | 33L << 10 | PENDING | 33);
        raiseAndEnter(33);
        assertThat(gic.pending(0, 32)).isZero();
    }

    @Test
    void pendingHardwareInterruptTakesNoEoiBit() {
        registers.setListRegister(0, HW | 27L << 10 | PENDING | 27);
        raiseAndEnter(27);
        assertThat(registers.listRegister(0)).isEqualTo(HW | 27L << 10 | PENDING | 27);
        assertThat(registers.listRegister(1)).isZero();
    }
}
