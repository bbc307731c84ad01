/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import java.util.Optional;

/**
 * Methods that a {@link VcpuThread} calls, one at each step of its vCPU. A model of interrupt hardware, such as AVIC or
 * VT-d's posting, overrides the methods of the steps at which it acts. A method does nothing unless it is overridden.
 */
public interface VcpuHooks {
    /**
     * The vCPU's thread is loaded on a CPU, after a preemption or a sleep. Interrupts are on. If {@link
     * VcpuThread#isBlocking}, {@link #unblocked} follows before the guest is entered, and AVIC sets IsRun there.
     *
     * @param here the CPU
     * @param last the thread's previous CPU; empty at the first load
     */
    default void load(HostCpu here, Optional<HostCpu> last) {}

    /** The thread is about to announce guest mode. Interrupts are off. A VGIC fills its list registers. */
    default void prepare(HostCpu here) {}

    /**
     * Guest mode is announced, followed by a full barrier. Interrupts are off. A refused entry ends in {@link #exited}.
     */
    default void entering(HostCpu here) {}

    /** The guest runs: the entry was not refused. Interrupts are off. Models the hardware's work at VMRUN. */
    default void entered(HostCpu here) {}

    /** The guest exited, or its entry was refused. Interrupts are off. A VGIC reads its list registers. */
    default void exited(HostCpu here) {}

    /**
     * The thread is preempted. Interrupts are on. A preemption may come between {@link #blocking} and {@link #asleep},
     * and between a {@link #load} after sleep and {@link #unblocked}: see {@link VcpuThread#isBlocking}.
     */
    default void preempted(HostCpu here) {}

    /** {@code KVM_RUN} returns, with interrupts on. By default calls {@link #preempted}. */
    default void left(HostCpu here) {
        preempted(here);
    }

    /** The vCPU is about to block, with interrupts on. {@link #unblocked} always follows. AVIC clears IsRun. */
    default void blocking(HostCpu here) {}

    /** Whether an interrupt would end the sleep. The thread has announced sleep, followed by a full barrier. */
    default boolean hasInterrupt() {
        return false;
    }

    /** The vCPU did not sleep, or was woken and loaded. Interrupts are on. AVIC sets IsRun. */
    default void unblocked(HostCpu here) {}

    /** The thread leaves its CPU to sleep, with interrupts off. An interrupt ends an {@code interruptible} sleep. */
    default void asleep(HostCpu here, boolean interruptible) {}
}
