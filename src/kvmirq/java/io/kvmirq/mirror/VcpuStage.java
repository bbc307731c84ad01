/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** The place of a vCPU in its schedule. Immutable. */
public sealed interface VcpuStage {
    /** It is loaded on a CPU of the host, by its physical APIC id. */
    record Loaded(int cpu) implements VcpuStage {
        @Override
        public String toString() {
            return "on the CPU with APIC id " + cpu;
        }
    }

    /** The host took the CPU away. */
    record Preempted() implements VcpuStage {
        @Override
        public String toString() {
            return "preempted";
        }
    }

    /** Its thread is in user space. */
    record Left() implements VcpuStage {
        @Override
        public String toString() {
            return "in user space";
        }
    }

    /** It sleeps until an interrupt wakes it. */
    record Blocked() implements VcpuStage {
        @Override
        public String toString() {
            return "asleep";
        }
    }

    /** Its thread is in KVM_RUN: loaded, preempted or blocked, and it is not known which. */
    record InRun() implements VcpuStage {
        @Override
        public String toString() {
            return "in KVM_RUN";
        }
    }
}
