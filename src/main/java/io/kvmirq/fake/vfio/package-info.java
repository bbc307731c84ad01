/* SPDX-License-Identifier: Apache-2.0 */
/**
 * VFIO with PCI devices in IOMMU groups: containers, groups and devices, and the interrupts of a device.
 *
 * <p>A device holds its group's file open, and a group holds its container. VFIO holds the state of an eventfd, not its
 * file: it signals an eventfd that is closed. The last close of a device disables its interrupts. INTx is the model of
 * {@link io.kvmirq.arch.intx}. A device has no BARs, and its configuration space has COMMAND, STATUS and the interrupt
 * pin only.
 */
@NullMarked
package io.kvmirq.fake.vfio;

import org.jspecify.annotations.NullMarked;
