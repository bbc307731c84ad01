/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Map;

/** Host hardware that receives MSI messages from devices. The caller of each method holds the kernel's lock. */
public interface IrqHardware {
    /** Hardware that never posts: every message interrupts the host. */
    IrqHardware TO_HOST = requester -> () -> true;

    /** The state of one device interrupt in the hardware, such as an entry of a remapping table. */
    interface Entry {
        /** Handles the device's message. Returns false if the message is posted to a guest, not to the host. */
        boolean request();

        /** Frees the state when the device's driver frees the interrupt. */
        default void free() {}
    }

    /** Allocates an interrupt for a device with a 16-bit requester id. At first, the device interrupts the host. */
    Entry allocate(int requester);

    /** Returns the sysfs files about the hardware, keyed by path; empty for hardware of no particular vendor. */
    default Map<String, String> files() {
        return Map.of();
    }
}
