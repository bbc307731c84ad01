/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Bit formats and rules of the hardware that delivers interrupts, without any I/O.
 *
 * <p>Each structure has a class. A static final {@link io.kvmirq.arch.Field} defines a field's bits, names and meaning,
 * and its rules from the manual. A {@link io.kvmirq.arch.Format} lists the fields in printing order, and is used for
 * decoding, encoding and checks. Fields also access words directly, without allocation: {@code Irte.VECTOR.of(low)}
 * reads the vector, and {@code Irte.VECTOR.put(low, 0x33)} returns the word with another vector. A record such as
 * {@link io.kvmirq.arch.vtd.RemappedIrte} contains the words of one structure, and has methods only for values that are
 * not in a single field.
 *
 * <p>Numbers are unsigned whatever their Java type, so an {@code int} or {@code long} with all bits set is the largest.
 * Decoding accepts any bits and lists violations of the manual. Encoding is the reverse of decoding, and rejects values
 * that do not fit.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
