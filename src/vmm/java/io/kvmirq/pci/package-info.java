/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A guest's PCI devices: passed-through devices, with the parts that a VMM emulates, and emulated devices.
 *
 * <p>{@link io.kvmirq.pci.PassedThroughDevice} is a whole host device on the guest's {@link
 * io.kvmirq.pci.PciHostBridge}, to which a VMM passes the guest's accesses to ports and to unmapped memory. A VMM with
 * its own bus uses {@link io.kvmirq.pci.GuestMsix} for the guest's MSI-X, and {@link io.kvmirq.pci.GuestMsi} for its
 * MSI. It passes each guest access to them, and they change the vectors of the device's {@link
 * io.kvmirq.forward.Forwarding} in batches.
 *
 * <p>Theory of operation. Four mechanisms connect the guest with a passed-through device. The VMM emulates
 * configuration space, except registers whose accesses it passes to the device. The guest accesses BARs directly, as
 * mapped memory, except the pages of the MSI-X table and the PBA. Interrupts are forwarded once the guest enables INTx,
 * MSI or MSI-X, of which at most one is in use. Guest memory is mapped for DMA at its guest-physical addresses.
 *
 * <p>Order. When the guest disables decoding in COMMAND, the BARs' memory slots are removed before the device gets the
 * write. When it enables decoding, they are added after the write. Otherwise KVM_RUN would fail with EFAULT if the
 * guest accessed a mapped register while the device does not decode. A reset ends the device's interrupts, removes its
 * BARs, disables bus mastering, and then resets the device. Closing a device resets it and then unmaps its DMA.
 */
@NullMarked
package io.kvmirq.pci;

import org.jspecify.annotations.NullMarked;
