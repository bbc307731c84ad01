/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupt controllers of an x86 guest whose LAPICs alone are in KVM (split irqchip).
 *
 * <p>{@link io.kvmirq.irqchip.GuestIoapic} is the IOAPIC, {@link io.kvmirq.irqchip.GuestPic} as much of the two PICs as
 * Linux asks for when it boots. The VMM hands each access of the guest to them, and each EOI that KVM tells of. The
 * IOAPIC is an {@link io.kvmirq.forward.Userspace.Injector}: lines of passed-through devices arrive by it.
 */
@NullMarked
package io.kvmirq.irqchip;

import org.jspecify.annotations.NullMarked;
