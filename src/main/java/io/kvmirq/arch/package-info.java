/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Bit formats and rules of the hardware an interrupt passes, without input or output. A structure is described once, by
 * its {@link io.kvmirq.arch.BitField fields}; what reads, writes, prints or checks it uses that description.
 */
@NullMarked
package io.kvmirq.arch;

import org.jspecify.annotations.NullMarked;
