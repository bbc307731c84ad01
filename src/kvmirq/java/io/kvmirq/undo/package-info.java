/* SPDX-License-Identifier: Apache-2.0 */
/** Set-ups of many steps, undone in one place. Every package may use this package. */
@NullMarked
package io.kvmirq.undo;

import org.jspecify.annotations.NullMarked;
