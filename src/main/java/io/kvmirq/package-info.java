/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The values every layer speaks.
 *
 * <p>A device interrupt travels host irq → device → guest irq. The types here name the right-hand end of that way, where
 * a {@link io.kvmirq.Gsi} indexes KVM's routing table, a {@link io.kvmirq.Route} says what the table holds for it, and a
 * {@link io.kvmirq.MsiMessage} carries a {@link io.kvmirq.Vector} to a {@link io.kvmirq.VcpuId}. All are immutable and
 * validated when made, so no later layer has to ask again whether a number is in range.
 *
 * <p>The kernel answers with an {@link io.kvmirq.Errno}. Where it means failure it is translated once, at the call, into
 * a {@link io.kvmirq.KernelException} that names the call, its operands and the likely cause.
 */
@NullMarked
package io.kvmirq;

import org.jspecify.annotations.NullMarked;
