/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.LinuxVersion;

/**
 * Kernel versions that differ in how KVM updates the posted-interrupt descriptor of a vCPU that leaves its CPU: {@code
 * vmx_vcpu_pi_put()} of Linux 6.12 and 7.1.
 */
public enum ApicvKernel {
    /**
     * KVM sets the descriptor's SN only when the vCPU is preempted. A remapping unit still notifies the last CPU of a
     * vCPU that is in user space, or that sleeps with interrupts disabled.
     */
    UP_TO_6_16,
    /** KVM sets SN whenever the vCPU leaves its CPU, unless the vCPU sleeps on a CPU's wake-up list. */
    FROM_6_17;

    /** The constant that describes a Linux version. */
    public static ApicvKernel of(LinuxVersion version) {
        return version.isSince(6, 17) ? FROM_6_17 : UP_TO_6_16;
    }
}
