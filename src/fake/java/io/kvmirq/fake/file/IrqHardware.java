/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Map;

/** The host's hardware that takes the messages of devices. The caller of each method holds the kernel's lock. */
public interface IrqHardware {
    /** Hardware that interrupts the host for every message. */
    IrqHardware TO_HOST = requester -> () -> true;

    /** The way of one interrupt through the hardware, such as an entry of a remapping table. */
    interface Entry {
        /** The device sends its message. True if the host is interrupted, false if a guest has the interrupt. */
        boolean request();

        /** The driver of the device gives the interrupt back. */
        default void free() {}
    }

    /** A driver allocates an interrupt of a device with a 16-bit requester id: an entry that interrupts the host. */
    Entry allocate(int requester);

    /** The files in which the host shows the hardware, by path; empty if no vendor made it. */
    default Map<String, String> files() {
        return Map.of();
    }
}
