/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** A device that is bound to an iommufd; source: {@code struct iommufd_device} in drivers/iommu/iommufd/device.c. */
final class BoundDevice extends IommuObject {
    private final IommuFile iommufd;
    private final FakeVfioDevice device;
    private @Nullable PageTable table;

    /** Creates the object, which the device's driver uses until the device is released. */
    BoundDevice(IommuFile iommufd, FakeVfioDevice device) {
        this.iommufd = iommufd;
        this.device = device;
        use();
    }

    IommuFile iommufd() {
        return iommufd;
    }

    FakeVfioDevice device() {
        return device;
    }

    int id() {
        return iommufd.id(this);
    }

    @Nullable
    PageTable table() {
        return table;
    }

    void setTable(@Nullable PageTable to) {
        table = to;
    }

    OptionalInt tableId() {
        return table == null ? OptionalInt.empty() : OptionalInt.of(iommufd.id(table));
    }
}
