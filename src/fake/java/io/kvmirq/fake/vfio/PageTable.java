/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** A page table of an address space, which attached devices use: {@code iommufd_device_auto_get_domain()}. */
final class PageTable extends IommuObject {
    private final AddressSpace space;

    PageTable(AddressSpace space) {
        this.space = space;
        space.setTable(this);
    }

    AddressSpace space() {
        return space;
    }
}
