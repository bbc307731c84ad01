/* SPDX-License-Identifier: Apache-2.0 */
/** Undo of a failed set-up, and waits of tear-down. Every package may use this package. */
@NullMarked
package io.kvmirq.undo;

import org.jspecify.annotations.NullMarked;
