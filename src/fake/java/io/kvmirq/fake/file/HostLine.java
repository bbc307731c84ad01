/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * A VFIO device's host interrupt: its handler masks the line, or leaves the interrupt active until the guest's EOI.
 * KVM-VFIO finds the interrupt by VFIO's index and subindex. KVM uses no other part of VFIO.
 */
public interface HostLine {
    /** Returns the interrupt's INTID at the host's GIC, an SPI. */
    int physicalId();

    /** Whether VFIO has an eventfd for the interrupt. */
    boolean isSignalled();

    /** Makes the handler signal the eventfd without a mask, so that the guest's EOI ends the interrupt. */
    void forward();

    /** Makes the handler mask before it signals. Ends an interrupt that awaits EOI; a high line interrupts again. */
    void unforward();

    /** Ends the interrupt because the guest wrote its EOI. */
    void deactivate();
}
