/* SPDX-License-Identifier: Apache-2.0 */
/** The code of small guests that count their interrupts and report them, from {@code src/fake/guest}. */
@NullMarked
package io.kvmirq.guest;

import org.jspecify.annotations.NullMarked;
