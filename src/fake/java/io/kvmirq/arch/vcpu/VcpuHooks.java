/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import java.util.Optional;

/**
 * Hooks that a {@link VcpuThread} calls at each step of its vCPU. A model of interrupt hardware, such as AVIC or VT-d
 * posting, overrides the hooks that it needs. By default, they do nothing.
 */
public interface VcpuHooks {
    /**
     * Called when the thread is loaded on a CPU, including after a preemption or a sleep. Interrupts are on. If the
     * vCPU {@linkplain VcpuThread#isBlocking blocks}, {@link #unblocked} follows before the guest is entered, and AVIC
     * sets IsRun in that call.
     *
     * @param here the CPU on which the thread is loaded
     * @param last the thread's previous CPU; empty at the first load
     */
    default void load(HostCpu here, Optional<HostCpu> last) {}

    /** Called before the thread announces guest mode, with interrupts off. In this call a VGIC fills list registers. */
    default void prepare(HostCpu here) {}

    /**
     * Called after the thread announced guest mode with a full barrier. Interrupts are off. If a request or kick then
     * refuses the entry, the thread calls {@link #exited}.
     */
    default void entering(HostCpu here) {}

    /** Called when the guest starts to run, as VMRUN does. Interrupts are off. */
    default void entered(HostCpu here) {}

    /** Called after a guest exit or a refused entry, with interrupts off. In this call a VGIC reads list registers. */
    default void exited(HostCpu here) {}

    /**
     * Called at a preemption, with interrupts on. A preemption can come between {@link #blocking} and {@link #asleep},
     * and between a {@link #load} after a sleep and {@link #unblocked}. See {@link VcpuThread#isBlocking}.
     */
    default void preempted(HostCpu here) {}

    /** Called when {@code KVM_RUN} returns, with interrupts on. The default method calls {@link #preempted}. */
    default void left(HostCpu here) {
        preempted(here);
    }

    /** Called before the vCPU blocks, with interrupts on. {@link #unblocked} always follows. AVIC clears IsRun here. */
    default void blocking(HostCpu here) {}

    /**
     * Whether a pending interrupt keeps the vCPU awake. Called after the thread announced sleep and executed a full
     * barrier.
     */
    default boolean hasInterrupt() {
        return false;
    }

    /** Called when the vCPU has stayed awake, or was woken and loaded. Interrupts are on. AVIC sets IsRun here. */
    default void unblocked(HostCpu here) {}

    /** Called before the thread sleeps, with interrupts off. An interrupt ends an {@code interruptible} sleep. */
    default void asleep(HostCpu here, boolean interruptible) {}
}
