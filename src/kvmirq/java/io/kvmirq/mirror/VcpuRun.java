/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/**
 * Where a vCPU stands in its schedule.
 *
 * @param cpu the physical APIC id of the CPU; 0 unless loaded
 * @param descriptor whether KVM kept the vCPU's posted-interrupt descriptor up to date in this step
 */
record VcpuRun(Stage stage, int cpu, boolean descriptor) {
    enum Stage {
        LOADED,
        PREEMPTED,
        /** In user space. */
        LEFT,
        BLOCKED
    }
}
