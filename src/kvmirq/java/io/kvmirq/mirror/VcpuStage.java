/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** Where a vCPU stands in its schedule. Immutable. */
public sealed interface VcpuStage {
    /**
     * It is loaded on a CPU of the host.
     *
     * @param cpu the physical APIC id
     */
    record Loaded(int cpu) implements VcpuStage {}

    /** The host took the CPU away. */
    record Preempted() implements VcpuStage {}

    /** Its thread is in user space. */
    record Left() implements VcpuStage {}

    /** It sleeps until an interrupt wakes it. */
    record Blocked() implements VcpuStage {}

    /** Its thread is in KVM_RUN: loaded, preempted or blocked, and it is not known which. */
    record InRun() implements VcpuStage {}
}
