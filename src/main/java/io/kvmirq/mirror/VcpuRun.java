/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/**
 * Where a vCPU stands in its schedule.
 *
 * @param cpu the physical APIC id of the CPU; 0 unless loaded
 */
record VcpuRun(Stage stage, int cpu) {
    enum Stage {
        LOADED,
        PREEMPTED,
        BLOCKED
    }
}
