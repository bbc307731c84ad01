/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * A VFIO device's host interrupt: its handler either masks the line or leaves EOI to the guest. KVM-VFIO finds the
 * interrupt by VFIO's index and subindex. This interface is all that KVM uses of VFIO.
 */
public interface HostLine {
    /** Returns the interrupt's INTID at the host's GIC, an SPI. */
    int physicalId();

    /** Whether VFIO has an eventfd for the interrupt. */
    boolean isSignalled();

    /** Makes the handler signal without a mask, so that the guest's EOI ends the interrupt. */
    void forward();

    /** Makes the handler mask before it signals. Ends an interrupt that awaits EOI; a high line interrupts again. */
    void unforward();

    /** Ends the interrupt because the guest wrote its EOI. */
    void deactivate();
}
