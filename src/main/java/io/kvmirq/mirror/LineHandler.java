/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** What VFIO does when the line of a device interrupts the host. */
public enum LineHandler {
    /** VFIO masks the line and signals. The guest's EOI unmasks the line through the resample eventfd. */
    AUTO_MASK,
    /** VFIO only signals. The guest's EOI ends the physical interrupt. */
    DIRECT_EOI
}
