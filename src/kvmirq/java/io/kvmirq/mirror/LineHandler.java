/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** VFIO's handler for a device line's host interrupt. */
public enum LineHandler {
    /** VFIO masks the line and signals its eventfd. The guest's EOI unmasks it through the resample eventfd. */
    AUTO_MASK,
    /** VFIO signals the eventfd and does not mask the line. The guest's EOI ends the physical interrupt. */
    DIRECT_EOI
}
