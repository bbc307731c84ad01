/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** A vCPU's state in the host's schedule. Immutable. */
public sealed interface VcpuStage {
    /** The vCPU is loaded on a host CPU, whose physical APIC id is {@code cpu}. */
    record Loaded(int cpu) implements VcpuStage {
        @Override
        public String toString() {
            return "on the CPU with APIC id " + cpu;
        }
    }

    /** The host preempted the vCPU. */
    record Preempted() implements VcpuStage {
        @Override
        public String toString() {
            return "preempted";
        }
    }

    /** The vCPU thread is in user space. */
    record Left() implements VcpuStage {
        @Override
        public String toString() {
            return "in user space";
        }
    }

    /** The vCPU sleeps until an interrupt wakes it. */
    record Blocked() implements VcpuStage {
        @Override
        public String toString() {
            return "asleep";
        }
    }

    /** The vCPU thread is in KVM_RUN. Whether the vCPU is loaded, preempted or blocked is unknown. */
    record InRun() implements VcpuStage {
        @Override
        public String toString() {
            return "in KVM_RUN";
        }
    }
}
