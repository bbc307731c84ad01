/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.UapiArm64;

/** A timer of a vCPU of arm64; source: {@code KVM_ARM_VCPU_TIMER_CTRL} in asm/kvm.h. */
public enum ArmTimer {
    /** The one that guests use; it raises PPI 27 unless set otherwise. */
    VIRTUAL(UapiArm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER),
    /** PPI 30 unless set otherwise. */
    PHYSICAL(UapiArm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER);

    private final int attribute;

    ArmTimer(int attribute) {
        this.attribute = attribute;
    }

    int attribute() {
        return attribute;
    }
}
