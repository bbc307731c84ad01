/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** A numbered object of an iommufd. Source: {@code struct iommufd_object} in drivers/iommu/iommufd/main.c. */
abstract class IommuObject {
    private int users;

    /** Another object uses this one. Until it no longer does, this one is not destroyed. */
    final void use() {
        users++;
    }

    final void unuse() {
        users--;
    }

    final boolean isUsed() {
        return users > 0;
    }
}
