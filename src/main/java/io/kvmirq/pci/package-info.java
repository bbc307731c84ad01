/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A PCI device as the guest that it was passed to sees it: what a VMM emulates of it.
 *
 * <p>{@link io.kvmirq.pci.GuestMsix} is the guest's MSI-X, {@link io.kvmirq.pci.GuestMsi} its MSI. The VMM hands each
 * access of the guest to them, and they change the device's {@link io.kvmirq.forward.Forwarding} in batches.
 */
@NullMarked
package io.kvmirq.pci;

import org.jspecify.annotations.NullMarked;
