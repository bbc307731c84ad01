/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/**
 * A page table that an iommufd made for an address space when a device was attached to it; each device that is attached
 * uses it. Source: {@code iommufd_device_auto_get_domain()} in drivers/iommu/iommufd/device.c.
 */
final class PageTable extends IommuObject {
    private final AddressSpace space;

    PageTable(AddressSpace space) {
        this.space = space;
        space.add(this);
    }

    AddressSpace space() {
        return space;
    }
}
