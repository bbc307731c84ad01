/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupt controllers of an x86 guest with a split irqchip: only the guest's LAPICs are in KVM.
 *
 * <p>{@link io.kvmirq.irqchip.GuestIoapic} is the IOAPIC. {@link io.kvmirq.irqchip.GuestPic} has the PIC registers that
 * Linux uses when it boots. The VMM passes guest accesses to the IOAPIC and the PICs, and EOI exits of KVM to the
 * IOAPIC. The IOAPIC is an {@link io.kvmirq.forward.Userspace.Injector}, so passed-through devices can drive its pins.
 */
@NullMarked
package io.kvmirq.irqchip;

import org.jspecify.annotations.NullMarked;
