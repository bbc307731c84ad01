/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;

/** The run state of a vCPU. Source: {@code KVM_MP_STATE_*} in linux/kvm.h. */
public enum VcpuState {
    /** The vCPU runs when its thread calls {@link Vcpu#run}. */
    RUNNABLE(Uapi.KVM_MP_STATE_RUNNABLE),
    /** The vCPU is an application processor waiting for INIT (x86). */
    UNINITIALIZED(Uapi.KVM_MP_STATE_UNINITIALIZED),
    /** The vCPU has received INIT and waits for a SIPI (x86). */
    INIT_RECEIVED(Uapi.KVM_MP_STATE_INIT_RECEIVED),
    /** The vCPU waits in HLT for an interrupt (x86). */
    HALTED(Uapi.KVM_MP_STATE_HALTED),
    /** The vCPU has received a SIPI (x86). A VMM can set this state, but KVM reports only the state that follows. */
    SIPI_RECEIVED(Uapi.KVM_MP_STATE_SIPI_RECEIVED),
    /** The vCPU is off until PSCI turns it on (arm64). */
    STOPPED(Uapi.KVM_MP_STATE_STOPPED),
    /** The guest requested an AP reset hold, in which the vCPU waits for a SIPI (x86, SEV-ES). */
    AP_RESET_HOLD(Uapi.KVM_MP_STATE_AP_RESET_HOLD),
    /** The vCPU waits for a wake-up event, at which KVM_RUN returns and the VMM resumes the vCPU (arm64). */
    SUSPENDED(Uapi.KVM_MP_STATE_SUSPENDED);

    private final int number;

    VcpuState(int number) {
        this.number = number;
    }

    int number() {
        return number;
    }

    static VcpuState of(int number) {
        for (VcpuState state : values()) {
            if (state.number == number) {
                return state;
            }
        }
        throw new IllegalStateException("the kernel reports the vCPU state " + number + ", which kvmirq does not"
                + " know: the kernel is too new");
    }
}
