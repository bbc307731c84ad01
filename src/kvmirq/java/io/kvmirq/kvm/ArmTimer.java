/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.UapiArm64;

/** An arm64 vCPU's timers. Source: {@code KVM_ARM_VCPU_TIMER_CTRL} in asm/kvm.h. */
public enum ArmTimer {
    /** The virtual timer, which guests normally use. It raises PPI 27 unless another PPI is set. */
    VIRTUAL(UapiArm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER),
    /** The physical timer, which raises PPI 30 unless another PPI is set. */
    PHYSICAL(UapiArm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER);

    private final int attribute;

    ArmTimer(int attribute) {
        this.attribute = attribute;
    }

    int attribute() {
        return attribute;
    }
}
