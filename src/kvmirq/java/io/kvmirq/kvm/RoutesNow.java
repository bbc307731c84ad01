/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * A VM's GSI routes when {@code Vm.adopt} wraps its descriptor. The caller states them, because KVM cannot read them
 * back and each change replaces them all.
 */
public enum RoutesNow {
    /** The VM has no routes, as after KVM_CAP_SPLIT_IRQCHIP. The library allocates GSIs from 24, above IOAPIC pins. */
    NONE,
    /** The routes that KVM_CREATE_IRQCHIP made (x86): GSI 0–15 to PIC and IOAPIC, 16–23 to the IOAPIC. */
    OF_FULL_IRQCHIP,
    /** The VMM manages the routes: this library cannot change them, but irqfds may raise the VMM's GSIs. */
    UNKNOWN
}
