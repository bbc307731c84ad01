/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Optional;

/** An open VFIO device, as KVM-VFIO uses it. Two files of one device have the same object. */
public interface VfioLines {
    /** The interrupt at an index and subindex of VFIO; empty unless it can be forwarded. */
    Optional<HostLine> line(int index, int subindex);

    /** Takes a reference, so that the host cannot remove the device. */
    void hold();

    /** Drops a reference. */
    void unhold();
}
