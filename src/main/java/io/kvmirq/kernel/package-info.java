/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What users open, and the rules that hold for every handle.
 *
 * <p>A {@link io.kvmirq.kernel.Kernel} is a binding plus the open KVM device. Each file descriptor is one
 * {@link io.kvmirq.kernel.Fd}, which counts the calls in flight on it: {@code close()} refuses new calls and returns at
 * once, the last call out closes, once. A number below is therefore never used after somebody else got it. A
 * <i>lease</i> is a use that outlives a call, such as an irqfd's hold on its eventfd; closing earlier takes effect when
 * the last lease ends.
 *
 * <p>{@link io.kvmirq.kernel.Calls} is the one place where handles become numbers and {@code -errno} becomes a
 * {@link io.kvmirq.KernelException}; it also refuses handles of another kernel. Nobody blocks in read(2):
 * {@link io.kvmirq.kernel.EventFd} waits in poll with a wake fd beside it, so that closing ends the wait. What waits
 * refuses virtual threads, whose carrier it would hold.
 *
 * <p>No cleaner closes anything: an fd that disappears at a moment of the collector's choosing takes interrupts with it.
 * A handle that was forgotten is reported through {@link java.lang.System.Logger} instead.
 */
@NullMarked
package io.kvmirq.kernel;

import org.jspecify.annotations.NullMarked;
