/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Optional;

/** The interrupts of an open VFIO device, for KVM-VFIO. All files of one device share one {@code VfioLines}. */
public interface VfioLines {
    /** Returns the interrupt at VFIO's index and subindex; empty if KVM cannot forward it. */
    Optional<HostLine> line(int index, int subindex);

    /** Takes a reference to the device, so that the host cannot remove it. */
    void hold();

    /** Drops a reference. */
    void unhold();
}
