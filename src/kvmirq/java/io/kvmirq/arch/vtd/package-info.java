/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupt remapping by Intel's IOMMU (VT-d). The classes are the message that refers to an entry of the remapping
 * table, the two forms of the entry (remapped and posted), and the capabilities of a unit. Use the records to read a
 * single entry or message. To scan a table, apply the fields of {@link io.kvmirq.arch.vtd.Irte} to both words of each
 * entry: the scan allocates nothing. All classes are immutable and thread-safe. {@code io.kvmirq.arch.vtd.posting} in
 * module {@code io.kvmirq.fake} models a unit and its table.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.vtd;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
