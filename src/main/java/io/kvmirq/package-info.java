/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The values that every package uses.
 *
 * <p>A device interrupt travels host irq → device → guest irq. The types here name the guest's end. A {@link Gsi} is an
 * index into KVM's routing table. A {@link Route} is an entry of that table. A {@link MsiMessage} carries a {@link
 * InterruptVector} to a {@link VcpuId}. All values are immutable and check their ranges when they are made.
 *
 * <p>When the kernel refuses a call, the call site throws a {@link KernelException}. It names the call, its operands,
 * the {@link Errno} and the likely cause.
 */
@NullMarked
package io.kvmirq;

import org.jspecify.annotations.NullMarked;
