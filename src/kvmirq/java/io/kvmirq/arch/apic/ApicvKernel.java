/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.LinuxVersion;

/**
 * Kernel versions that differ in how KVM updates a vCPU's posted-interrupt descriptor when the vCPU is put: {@code
 * vmx_vcpu_pi_put()} of Linux 6.12 and 7.1; since 6.17, 6737557442e5 ("KVM: VMX: Suppress PI notifications whenever the
 * vCPU is put").
 */
public enum ApicvKernel {
    /**
     * KVM sets SN only when the vCPU is preempted. If it is in user space, or sleeps with interrupts disabled, a
     * remapping unit still notifies its last CPU.
     */
    UP_TO_6_16,
    /** KVM sets SN whenever the vCPU is put, unless it sleeps on a CPU's wake-up list. */
    FROM_6_17;

    /** The constant that describes a Linux version. */
    public static ApicvKernel of(LinuxVersion version) {
        return version.isSince(6, 17) ? FROM_6_17 : UP_TO_6_16;
    }
}
