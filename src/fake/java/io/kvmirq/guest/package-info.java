/* SPDX-License-Identifier: Apache-2.0 */
/** Machine code of small guests that count and report their interrupts. The source is in {@code src/fake/guest}. */
@NullMarked
package io.kvmirq.guest;

import org.jspecify.annotations.NullMarked;
