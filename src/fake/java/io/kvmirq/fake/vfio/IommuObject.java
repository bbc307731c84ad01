/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** A numbered object of an iommufd. Source: {@code struct iommufd_object} in drivers/iommu/iommufd/main.c. */
abstract class IommuObject {
    private int users;

    /** Adds a user: the object cannot be destroyed until {@link #unuse}. */
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
