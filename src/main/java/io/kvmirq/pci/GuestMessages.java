/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

/** MSI or MSI-X of a device as its guest sees it, as far as both are alike: their state can be saved. */
public sealed interface GuestMessages extends DeviceState permits GuestMsi, GuestMsix {
    /** How many vectors the guest may enable. */
    int size();

    /** Whether the guest enabled it. */
    boolean isEnabled();
}
