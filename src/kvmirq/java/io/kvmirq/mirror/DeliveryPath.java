/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** How a forwarding delivers a device interrupt. */
public enum DeliveryPath {
    /** An irqfd delivers the interrupt. Only on this path can hardware deliver it instead. */
    KERNEL,
    /** The interrupt is masked. It is delivered at the unmask. */
    MASKED,
    /** A program reads the eventfd and injects the interrupt. */
    USERSPACE,
    /** The device file is closed, so the interrupt is never delivered again. */
    CLOSED
}
