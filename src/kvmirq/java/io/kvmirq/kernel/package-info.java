/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Objects that own kernel resources (handles), and the rules that hold for every handle.
 *
 * <p>A {@link io.kvmirq.kernel.Kernel} makes system calls through one binding, such as JNI. The first VM opens the KVM
 * device, so eventfds work on a host without KVM. Each file descriptor is one {@link io.kvmirq.kernel.Fd}, which counts
 * the running calls that use the descriptor. {@code close()} refuses new calls and returns at once. The last of the
 * running calls closes the descriptor. The kernel reuses descriptor numbers, so a number is never used after its close.
 * A <i>lease</i> keeps a descriptor open beyond one call: for example, an irqfd leases its eventfd. If a handle is
 * closed while it has leases, its descriptor stays open until the last lease ends.
 *
 * <p>{@link io.kvmirq.kernel.Calls} helps to make a call: for one call it turns a handle into a descriptor number, and
 * {@code -errno} into a {@link io.kvmirq.KernelException} with call, operands, errno and cause. {@code Calls} refuses
 * handles of another kernel. A package makes the calls of its objects in package-private subclasses, such as {@code
 * VmCalls} in {@code io.kvmirq.kvm}.
 *
 * <p>No thread blocks in read(2). {@link io.kvmirq.kernel.EventFd} waits in poll(2), also for a second eventfd, by
 * which closing ends the wait. {@link io.kvmirq.kernel.EventLoop} waits for many eventfds in epoll(7) and calls their
 * handlers in one thread. A call that waits refuses virtual threads, because it would block their carrier.
 *
 * <p>No cleaner closes a descriptor: if the garbage collector closed an eventfd, its interrupts would be lost. A handle
 * that was never closed is reported through {@link java.lang.System.Logger}.
 */
@NullMarked
package io.kvmirq.kernel;

import org.jspecify.annotations.NullMarked;
