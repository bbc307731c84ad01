/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/** How a device interrupts. */
public enum InterruptMode {
    NONE,
    INTX,
    MSI,
    MSIX
}
