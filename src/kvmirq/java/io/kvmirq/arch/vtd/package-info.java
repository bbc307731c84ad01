/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupt remapping by Intel's IOMMU (VT-d): the message that names an entry of the remapping table, the entry in its
 * remapped and its posted form, the table, and the capabilities of a unit. Use records for single entries. For scans of
 * a table use the fields of {@link io.kvmirq.arch.vtd.Irte} on the words; they allocate nothing.
 *
 * <p>Everything but {@link io.kvmirq.arch.vtd.RemappingTable} is immutable and safe for use by any number of threads.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.vtd;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
