/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * A VFIO device's host interrupt: its handler either masks the line or leaves EOI to the guest. KVM-VFIO finds the
 * interrupt by VFIO's index and subindex. KVM sees nothing else of VFIO.
 */
public interface HostLine {
    /** The INTID at the host's GIC, an SPI. */
    int physicalId();

    /** Whether VFIO has an eventfd for the interrupt. */
    boolean isSignalled();

    /** Makes the handler only signal, so that the guest's EOI ends the interrupt. */
    void forward();

    /** Makes the handler mask before it signals. Ends a pending EOI; an asserted line interrupts again. */
    void unforward();

    /** Ends the interrupt at the guest's EOI. */
    void deactivate();
}
