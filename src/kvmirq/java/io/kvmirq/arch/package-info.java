/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Bit formats and rules of the hardware that delivers interrupts, without any I/O.
 *
 * <p>One class describes one structure. A static final {@link io.kvmirq.arch.Field} has a field's bits, names, meaning
 * and the manual's rules. A {@link io.kvmirq.arch.Format}, which decoding, encoding and checks use, lists the fields in
 * printing order. The same field reads and writes the words: {@code Irte.VECTOR.of(low)} reads the vector, and {@code
 * Irte.VECTOR.put(low, 0x33)} returns a copy of the word with another vector. Neither allocates. A record such as
 * {@link io.kvmirq.arch.vtd.RemappedIrte} holds the words of one structure, and has methods only for values that no
 * single field holds.
 *
 * <p>Numbers are unsigned, whatever their Java type: an {@code int} or {@code long} with all bits set is the largest.
 * Decoding accepts any bits and lists violations of the manual. Encoding refuses a value that does not fit its bits.
 * Encoding and decoding reverse each other.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
