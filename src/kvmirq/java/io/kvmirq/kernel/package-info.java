/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Handles, and the rules that hold for every handle.
 *
 * <p>A {@link io.kvmirq.kernel.Kernel} is a binding. It opens the KVM device with the first VM, so eventfds work on a
 * host without KVM. Each file descriptor is one {@link io.kvmirq.kernel.Fd}, which counts the calls that use it now.
 * {@code close()} refuses new calls and returns at once. The last of the running calls closes the descriptor. The
 * kernel reuses descriptor numbers, so a number is never used after its close. A <i>lease</i> is a use that outlives a
 * call, such as an irqfd's hold on its eventfd. If a handle is closed while it has leases,
 * its descriptor stays open until the last lease ends.
 *
 * <p>{@link io.kvmirq.kernel.Calls} helps to make a call: it turns a handle into a number for the length of one call,
 * and {@code -errno} into a {@link io.kvmirq.KernelException} with call, operands, errno and cause. Such a call also
 * refuses handles of another kernel. A package that owns objects makes their calls in package-private subclasses, such
 * as {@code VmCalls} in {@code io.kvmirq.kvm}.
 *
 * <p>No thread blocks in read(2). {@link io.kvmirq.kernel.EventFd} waits in poll with a wake eventfd beside it, so
 * closing ends the wait. {@link io.kvmirq.kernel.EventLoop} waits for many in epoll and calls their handlers in one
 * thread. A call that waits refuses virtual threads, whose carrier it would hold.
 *
 * <p>No cleaner closes a descriptor: if the garbage collector closed an eventfd, its interrupts would be lost. A handle
 * that was never closed is reported through {@link java.lang.System.Logger}.
 */
@NullMarked
package io.kvmirq.kernel;

import org.jspecify.annotations.NullMarked;
