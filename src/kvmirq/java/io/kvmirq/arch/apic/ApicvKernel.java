/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.LinuxVersion;

/**
 * How KVM updates a vCPU's posted-interrupt descriptor on vCPU put, in {@code vmx_vcpu_pi_put()}. Linux 6.17 changed
 * this in 6737557442e5 ("KVM: VMX: Suppress PI notifications whenever the vCPU is put").
 */
public enum ApicvKernel {
    /**
     * KVM sets SN only when the vCPU is preempted. While the vCPU is in user space, or sleeps with interrupts disabled,
     * a remapping unit still notifies its last CPU.
     */
    UP_TO_6_16,
    /** KVM sets SN whenever the vCPU is put, unless it sleeps on a CPU's wake-up list. */
    FROM_6_17;

    /** The constant for a Linux version. */
    public static ApicvKernel of(LinuxVersion version) {
        return version.isSince(6, 17) ? FROM_6_17 : UP_TO_6_16;
    }
}
