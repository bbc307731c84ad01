/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupt controllers for an x86 guest with a split irqchip, of which KVM emulates only the LAPICs.
 *
 * <p>{@link io.kvmirq.irqchip.GuestIoapic} is the IOAPIC. {@link io.kvmirq.irqchip.GuestPic} has the PIC registers that
 * Linux uses when it boots. The VMM passes guest accesses to both, and KVM's EOI exits to the IOAPIC. The IOAPIC is an
 * {@link io.kvmirq.forward.Userspace.Injector}, so passed-through devices can drive its pins.
 */
@NullMarked
package io.kvmirq.irqchip;

import org.jspecify.annotations.NullMarked;
