/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Bit formats and rules of the hardware an interrupt passes, without input or output. A structure is described once, by
 * its {@link io.kvmirq.arch.Format} of {@link io.kvmirq.arch.BitField fields}; what reads, writes, prints or checks it
 * uses that description. The packages below have a record for each structure that programs work with, made of the same
 * fields.
 *
 * <p>Numbers are unsigned, whatever their Java type: an {@code int} or {@code long} with all bits set is the largest.
 * Decoding takes any bits and lists what the manual forbids; only values that no bits can hold are refused. Decoding
 * what was encoded, and encoding what was decoded, gives back the same.
 */
@NullMarked
package io.kvmirq.arch;

import org.jspecify.annotations.NullMarked;
