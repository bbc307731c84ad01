/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/** The GSI routes of a VM that is adopted. The kernel has no call to read them, and each change replaces all. */
public enum RoutesNow {
    /** It has none, as after KVM_CAP_SPLIT_IRQCHIP. GSIs are given out from 24 on. */
    NONE,
    /** Those that KVM_CREATE_IRQCHIP made (x86): GSI 0–15 → PIC and IOAPIC, 16–23 → IOAPIC. */
    OF_FULL_IRQCHIP,
    /** Its VMM keeps them: they cannot be changed here. Irqfds on its GSIs work. */
    UNKNOWN
}
