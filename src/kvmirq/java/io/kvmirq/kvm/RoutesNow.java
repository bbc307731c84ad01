/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The GSI routes of a VM when {@code Vm.adopt} takes over the VM's descriptor. The caller states the routes, because
 * the kernel has no call to read them, and each change replaces all routes.
 */
public enum RoutesNow {
    /** The VM has no routes, as after KVM_CAP_SPLIT_IRQCHIP. The library allocates GSIs from 24, above IOAPIC pins. */
    NONE,
    /** The routes that KVM_CREATE_IRQCHIP made (x86): GSI 0–15 to PIC and IOAPIC, 16–23 to the IOAPIC. */
    OF_FULL_IRQCHIP,
    /** The VMM manages the routes: this library cannot change them. Irqfds may raise the VMM's GSIs. */
    UNKNOWN
}
