/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** VFIO's handler of a device's line that interrupts the host. */
public enum LineHandler {
    /** VFIO masks the line and signals. The guest's EOI unmasks the line through the resample eventfd. */
    AUTO_MASK,
    /** VFIO only signals. The guest's EOI ends the physical interrupt. */
    DIRECT_EOI
}
