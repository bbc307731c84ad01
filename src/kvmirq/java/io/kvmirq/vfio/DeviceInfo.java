/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.List;
import java.util.Objects;

/**
 * A device as VFIO describes it.
 *
 * @param bus the VFIO driver's bus
 * @param resettable whether the device supports {@link VfioDevice#reset}
 * @param regions the number of regions, some of which may have size 0 because they do not exist
 * @param irqs the device's interrupt kinds, sorted by VFIO index
 */
public record DeviceInfo(Bus bus, boolean resettable, int regions, List<IrqInfo> irqs) {
    /** A bus for which VFIO has drivers. */
    public enum Bus {
        /** The bus of vfio-pci and its variants. */
        PCI,
        /** The bus of vfio-platform and vfio-amba, where each VFIO index is one interrupt. */
        PLATFORM,
        /** Any other bus. */
        OTHER
    }

    public DeviceInfo {
        Objects.requireNonNull(bus, "bus is null");
        Objects.requireNonNull(irqs, "irqs is null");
        irqs = List.copyOf(irqs);
    }
}
