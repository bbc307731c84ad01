/* SPDX-License-Identifier: Apache-2.0 */
/**
 * VFIO with PCI and platform devices in IOMMU groups: containers, iommufds, groups and devices, and the interrupts of a
 * device.
 *
 * <p>A device holds its group's file open, and a group holds its container. VFIO holds the state of an eventfd, not its
 * file: it signals an eventfd that is closed. The last close of a device disables its interrupts. INTx is the model of
 * {@link io.kvmirq.arch.intx}, and so is a level of a platform device. A device has no BARs, and a write to its
 * configuration space reaches COMMAND only.
 *
 * <p>{@code VfioDevice} is what all devices share: its files, its group, and its iommufd. {@code PciRequests} and
 * {@code VfioPlatform} are the bus drivers. A {@code DeviceFile} comes from a group, or is the device's own (cdev) and
 * answers after it was bound to an {@code IommuFile}.
 */
@NullMarked
package io.kvmirq.fake.vfio;

import org.jspecify.annotations.NullMarked;
