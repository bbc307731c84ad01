/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** VFIO's handler for the host interrupt of a device's line. */
public enum LineHandler {
    /** VFIO masks the line and signals its eventfd. The guest's EOI unmasks the line through the resample eventfd. */
    AUTO_MASK,
    /** VFIO signals the eventfd and does not mask the line. The guest's EOI ends the physical interrupt. */
    DIRECT_EOI
}
