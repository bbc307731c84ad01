/* SPDX-License-Identifier: Apache-2.0 */
/**
 * VFIO with PCI and platform devices in IOMMU groups: the files of containers, iommufds, groups and devices, and a
 * device's interrupts.
 *
 * <p>An open device keeps its group's file open, and a group keeps its container open. VFIO references an eventfd's
 * kernel object, not its file, so VFIO can signal an eventfd after its close. The last close of a device disables its
 * interrupts. {@link io.kvmirq.arch.intx} models INTx, and the level-triggered interrupts of platform devices.
 *
 * <p>{@code FakeVfioDevice} has the state of every device: files, group and iommufd. {@code PciRequests} and {@code
 * VfioPlatform} model the bus drivers vfio-pci and vfio-platform. A {@code DeviceFile} comes from a group's file, or is
 * the device's own file (cdev). A cdev works only after it is bound to an {@code IommuFile}.
 */
@NullMarked
package io.kvmirq.fake.vfio;

import org.jspecify.annotations.NullMarked;
