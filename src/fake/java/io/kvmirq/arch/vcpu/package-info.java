/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of a host's CPUs and the vCPU threads on them, for any interrupt hardware.
 *
 * <p>A {@link io.kvmirq.arch.vcpu.HostCpus} has CPUs, each with a number and an id for interrupt hardware. A CPU takes
 * interrupts of any vector and runs their handlers. A {@link io.kvmirq.arch.vcpu.VcpuThread} is loaded on a CPU, enters
 * and exits the guest, is preempted, blocks, and is woken and kicked. At each of these steps the thread calls its
 * {@link io.kvmirq.arch.vcpu.VcpuHooks}, which the models of posting, AVIC and a VGIC implement.
 *
 * <p>The thread executes two full barriers. At an entry the thread announces guest mode, executes the first barrier,
 * calls {@code entering} and reads the request word. The sender of a request sets the request word and then reads the
 * thread's mode, so either the sender sees guest mode or the thread sees the request. Before a sleep the thread
 * announces sleep, executes the second barrier and calls {@code hasInterrupt}. The sender makes its request and then
 * wakes the thread, so either {@code hasInterrupt} sees the request or the wake ends the sleep.
 *
 * <p>At an entry the thread clears the request word and then calls {@code prepare}. If {@code prepare} must see a
 * change, its sender makes the change and then sets the request word. If a sender's change comes after {@code prepare},
 * the sender sets the request word after the thread cleared it, and the thread does not enter the guest.
 *
 * <p>The model keeps its state in {@link io.kvmirq.arch.SharedWords}, so that tests can run accesses in any order.
 * Thread-safe, but only a vCPU's own thread may call methods that need a CPU.
 *
 * <p>Source: {@code vcpu_enter_guest}, {@code kvm_vcpu_block} and {@code kvm_vcpu_kick} of Linux 7.1.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.vcpu;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
