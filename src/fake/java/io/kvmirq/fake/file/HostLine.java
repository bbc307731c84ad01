/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * An interrupt of the host that a device of VFIO has, and the two modes of its handler. KVM-VFIO finds it by VFIO's
 * numbers; KVM and its architecture see nothing else of VFIO.
 */
public interface HostLine {
    /** Its INTID at the host's GIC, an SPI. */
    int physicalId();

    /** Whether VFIO signals an eventfd for it. */
    boolean isSignalled();

    /** From now on the handler only signals: the guest's EOI ends the interrupt. */
    void forward();

    /** The handler masks before it signals from now on. A pending EOI is ended, and a high line interrupts again. */
    void unforward();

    /** The guest's EOI ends the interrupt. */
    void deactivate();
}
