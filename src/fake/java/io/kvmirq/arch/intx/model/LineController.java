/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/** The steps by which a host interrupt controller ends an interrupt. */
public enum LineController {
    /** An interrupt ends in two steps: priority drop, and deactivation, which the guest's EOI can do (EOImode 1). */
    GIC,
    /** An interrupt ends by the host's EOI after the handlers. An unmasked line that is still high interrupts again. */
    IOAPIC
}
