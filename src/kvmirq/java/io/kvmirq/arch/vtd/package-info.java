/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupt remapping by Intel's IOMMU (VT-d): the message that refers to a remapping table entry, the entry's two
 * forms (remapped and posted), and a remapping unit's capabilities. Use the records to read a single entry or message.
 * To scan a table without allocating, apply the fields of {@link io.kvmirq.arch.vtd.Irte} to both words of each entry.
 * All classes are immutable and thread-safe. {@code io.kvmirq.arch.vtd.posting} in module {@code io.kvmirq.fake} models
 * a unit and its table.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.vtd;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
