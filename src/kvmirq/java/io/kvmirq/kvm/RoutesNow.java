/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/** An adopted VM's GSI routes, specified by the caller of {@code Vm.adopt} because no KVM call reads routes. */
public enum RoutesNow {
    /** The VM has no routes, as after KVM_CAP_SPLIT_IRQCHIP. The library allocates GSIs from 24, above IOAPIC pins. */
    NONE,
    /** The routes that KVM_CREATE_IRQCHIP made (x86): GSI 0–15 to PIC and IOAPIC, 16–23 to the IOAPIC. */
    OF_FULL_IRQCHIP,
    /** The VMM manages the routes. This library refuses to change them, but irqfds may raise the VMM's GSIs. */
    UNKNOWN
}
