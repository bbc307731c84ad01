/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A PCI device as the guest that it was passed to sees it: what a VMM emulates of it.
 *
 * <p>{@link io.kvmirq.pci.GuestMsix} is the guest's MSI-X. The VMM hands it each access of the guest, and it changes the
 * device's {@link io.kvmirq.forward.Forwarding} in batches.
 */
@NullMarked
package io.kvmirq.pci;

import org.jspecify.annotations.NullMarked;
