/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The values that every package uses.
 *
 * <p>A device interrupt travels host irq → device → guest irq. The types here name the guest's end. A {@link
 * io.kvmirq.Gsi} is an index into KVM's routing table. A {@link io.kvmirq.Route} is an entry of that table. A {@link
 * io.kvmirq.MsiMessage} carries a {@link io.kvmirq.InterruptVector} to a {@link io.kvmirq.VcpuId}. All values are
 * immutable and check their ranges when they are made.
 *
 * <p>When the kernel refuses a call, the call site throws a {@link io.kvmirq.KernelException}. It names the call, its
 * operands, the {@link io.kvmirq.Errno} and the likely cause.
 */
@NullMarked
package io.kvmirq;

import org.jspecify.annotations.NullMarked;
