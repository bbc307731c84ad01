/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** The path by which a forwarding delivers a device's interrupt. */
public enum DeliveryPath {
    /** By an irqfd: the only delivery that hardware can take over. */
    KERNEL,
    /** Not at all, until it is unmasked. */
    MASKED,
    /** A program takes the eventfd and injects the interrupt. */
    USERSPACE,
    /** Never again: the device's file is closed. */
    CLOSED
}
