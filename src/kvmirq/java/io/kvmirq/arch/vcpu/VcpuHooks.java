/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import java.util.Optional;

/**
 * The part of a vCPU's interrupt hardware in each step of its {@link VcpuThread}. The thread calls the methods; each
 * does nothing unless it is overridden.
 */
public interface VcpuHooks {
    /**
     * The thread comes to a CPU, after a preemption or a sleep. Interrupts are on. If {@link VcpuThread#isBlocking}
     * then {@link #unblocked} follows before the guest is entered: AVIC sets IsRun there and not here.
     *
     * @param here the CPU
     * @param last the CPU it was on before; empty at the first load
     */
    default void load(HostCpu here, Optional<HostCpu> last) {}

    /** The thread is about to announce guest mode. Interrupts are off. A VGIC fills its list registers here. */
    default void prepare(HostCpu here) {}

    /**
     * The thread has announced guest mode, and a full barrier is behind it. Interrupts are off. If the entry is
     * refused, {@link #exited} follows.
     */
    default void entering(HostCpu here) {}

    /**
     * The guest runs: the entry, or the return of the fast path, was not refused. Interrupts are off. An implementation
     * models here the work of the hardware at VMRUN.
     */
    default void entered(HostCpu here) {}

    /** The guest exited, or its entry was refused. Interrupts are off. A VGIC reads its list registers back here. */
    default void exited(HostCpu here) {}

    /**
     * The thread is taken off its CPU and could run. Interrupts are on. This may come between {@link #blocking} and
     * {@link #asleep}, and between a {@link #load} after sleep and {@link #unblocked}: see {@link
     * VcpuThread#isBlocking}.
     */
    default void preempted(HostCpu here) {}

    /**
     * The thread leaves its CPU because {@code KVM_RUN} returns to user space. Interrupts are on. Like a preemption
     * unless it is overridden.
     */
    default void left(HostCpu here) {
        preempted(here);
    }

    /**
     * The vCPU is about to block; {@link VcpuThread#isBlocking} is false until this returns. {@link #unblocked} always
     * follows. Interrupts are on. AVIC clears IsRun here.
     */
    default void blocking(HostCpu here) {}

    /** Whether an interrupt would end the sleep. The thread has announced sleep, and a full barrier is behind it. */
    default boolean hasInterrupt() {
        return false;
    }

    /**
     * The vCPU blocks no more: it did not sleep, or it was woken and loaded. {@link VcpuThread#isBlocking} is false.
     * Interrupts are on. AVIC sets IsRun here.
     */
    default void unblocked(HostCpu here) {}

    /**
     * The thread leaves its CPU to sleep. Interrupts are off.
     *
     * @param interruptible whether an interrupt is to end the sleep
     */
    default void asleep(HostCpu here, boolean interruptible) {}
}
