/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Bit formats and rules of the hardware that carries an interrupt. No input or output.
 *
 * <p>One class describes one structure. A static final {@link io.kvmirq.arch.Field} holds everything that is known of a
 * field: its bits, its names, its meaning and the rules of the manual. A {@link io.kvmirq.arch.Format} lists the fields
 * in the order of printing; decode, encode and checks follow from it. The same field is the accessor over the words:
 * {@code Irte.VECTOR.of(low)} reads it, {@code Irte.VECTOR.put(low, 0x33)} changes it, and neither allocates. A record
 * such as {@link io.kvmirq.arch.vtd.RemappedIrte} holds the words of one structure and has methods only for what a
 * field alone does not say.
 *
 * <p>Numbers are unsigned, whatever their Java type: an {@code int} or {@code long} with all bits set is the largest.
 * Decode accepts any bits and lists what the manual forbids. Encode refuses a value that does not fit its bits. Encode
 * reverses decode, and decode reverses encode.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
