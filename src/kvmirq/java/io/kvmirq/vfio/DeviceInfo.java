/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.List;
import java.util.Objects;

/**
 * VFIO's description of a device.
 *
 * @param bus the bus of the VFIO driver that serves the device
 * @param resettable whether the device supports {@link VfioDevice#reset}
 * @param regions the number of the device's regions; a region of size 0 does not exist
 * @param irqs the device's kinds of interrupts, in the order of VFIO's indexes
 */
public record DeviceInfo(Bus bus, boolean resettable, int regions, List<IrqInfo> irqs) {
    /** Buses that VFIO has drivers for. */
    public enum Bus {
        /** vfio-pci and its variants. */
        PCI,
        /** The bus of vfio-platform and vfio-amba; each VFIO index is one interrupt. */
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
