/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/** How a device interrupts. */
public enum InterruptMode {
    /** Not at all. */
    NONE,
    /** Through its line. */
    INTX,
    /** By messages. */
    MSI,
    /** By messages of a table. */
    MSIX
}
