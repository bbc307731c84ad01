/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What an IOMMU of Intel remaps interrupts with: the message that names an entry of its table, the entry in its
 * remapped and its posted form, and what its registers say of what it can do. Records are for reading and changing one;
 * for scans of a table {@link io.kvmirq.arch.vtd.Irte} has methods over its two words that allocate nothing. Everything
 * is immutable and may be used from any thread.
 */
@NullMarked
package io.kvmirq.arch.vtd;

import org.jspecify.annotations.NullMarked;
