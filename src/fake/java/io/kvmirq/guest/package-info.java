/* SPDX-License-Identifier: Apache-2.0 */
/** The code of a small guest of x86, {@code src/fake/guest/guest.S}, which counts its interrupts and answers them. */
@NullMarked
package io.kvmirq.guest;

import org.jspecify.annotations.NullMarked;
