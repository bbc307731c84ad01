/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Handles (objects that own kernel resources), and the rules that all handles follow.
 *
 * <p>A {@link io.kvmirq.kernel.Kernel} makes system calls through one binding, such as JNI. Only the first VM opens the
 * KVM device, so eventfds also work on a host without KVM. Each file descriptor is one {@link io.kvmirq.kernel.Fd},
 * which counts the running calls that use it. {@code close()} refuses new calls and returns at once. If calls are still
 * running, the last one closes the descriptor. No call uses a number after it is closed, because the kernel reuses
 * descriptor numbers. A <i>lease</i> keeps a descriptor open beyond one call. An irqfd, for example, leases its
 * eventfd. If a handle is closed while it has leases, its descriptor stays open until the last one ends.
 *
 * <p>{@link io.kvmirq.kernel.Calls} turns a handle into a descriptor number, and {@code -errno} into a {@link
 * io.kvmirq.KernelException} with the call, operands, errno and cause. It refuses handles of another kernel. In each
 * package, subclasses such as {@code VmCalls} make the calls for the package's objects.
 *
 * <p>No thread blocks in read(2). {@link io.kvmirq.kernel.EventFd} waits in poll(2) for its signal and for a second
 * eventfd, which {@code close} signals to end the wait. {@link io.kvmirq.kernel.EventLoop} waits for many eventfds in
 * epoll(7) and calls their handlers in one thread. Calls that wait refuse virtual threads, because they would block the
 * carrier thread.
 *
 * <p>Garbage collection never closes a descriptor, because an eventfd's interrupts would then be lost. Instead, a
 * handle that was never closed is reported through {@link java.lang.System.Logger}.
 */
@NullMarked
package io.kvmirq.kernel;

import org.jspecify.annotations.NullMarked;
