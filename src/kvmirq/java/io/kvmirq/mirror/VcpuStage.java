/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** The state of a vCPU in the host's schedule. Immutable. */
public sealed interface VcpuStage {
    /** The vCPU is loaded on a CPU of the host; {@code cpu} is its physical APIC id. */
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

    /** The vCPU's thread is in user space. */
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

    /** The vCPU's thread is in KVM_RUN. Whether the vCPU is loaded, preempted or blocked is unknown. */
    record InRun() implements VcpuStage {
        @Override
        public String toString() {
            return "in KVM_RUN";
        }
    }
}
