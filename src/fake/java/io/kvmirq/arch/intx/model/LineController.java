/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/** How an interrupt controller of the host ends an interrupt. */
public enum LineController {
    /** In two steps: priority drop, and deactivation, which the guest's EOI can do (EOImode 1). */
    GIC,
    /** In one step, the host's EOI after the handlers. An asserted line then interrupts again unless it is masked. */
    IOAPIC
}
