/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A PCI device as the guest that it was passed to sees it: what a VMM emulates of it.
 *
 * <p>{@link io.kvmirq.pci.PassedThroughDevice} is the whole: a device on the guest's {@link io.kvmirq.pci.PciHostBridge},
 * to which a VMM hands the guest's accesses to ports and to memory that is not there. A VMM that has a bus of its own
 * takes {@link io.kvmirq.pci.GuestMsix}, the guest's MSI-X, and {@link io.kvmirq.pci.GuestMsi}, its MSI: they are handed
 * each access of the guest, and change the device's {@link io.kvmirq.forward.Forwarding} in batches.
 *
 * <p>Theory of operation. Between guest and device stand four things. Configuration space is emulated, except for registers
 * that only the device can answer. BARs are memory of the guest, page by page, without the pages in which the MSI-X table
 * and the PBA lie. Interrupts are forwarded as the guest enables them, one kind at a time. The guest's memory is mapped
 * for DMA at the guest's addresses.
 *
 * <p>Order. When the guest stops decoding, the memory slots go before the device is told, and come after it: an access to a
 * mapped register while the device does not decode would end KVM_RUN with EFAULT. A reset ends interrupts, then BARs, then
 * bus mastering, and resets the device last; the end of a device unmaps its DMA after that.
 */
@NullMarked
package io.kvmirq.pci;

import org.jspecify.annotations.NullMarked;
