/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Optional;

/** An open device of VFIO, as KVM-VFIO uses it. Two files of one device have the same object. */
public interface VfioLines {
    /** The interrupt at VFIO's numbers; empty if the device has none there that can be forwarded. */
    Optional<HostLine> line(int index, int subindex);

    /** Takes a reference: the host cannot remove the device. */
    void hold();

    /** Drops a reference. */
    void unhold();
}
