/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/** How an interrupt controller of the host ends an interrupt. */
public enum LineController {
    /** In two steps: the priority drop, and the deactivation, which the guest's EOI can do (EOImode 1). */
    GIC,
    /** In one step: the host's EOI, when the handlers return. An asserted line interrupts again unless it is masked. */
    IOAPIC
}
