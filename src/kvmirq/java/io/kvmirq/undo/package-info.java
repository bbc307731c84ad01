/* SPDX-License-Identifier: Apache-2.0 */
/** Undoes failed set-ups, and waits in tear-down. Every package may use this package. */
@NullMarked
package io.kvmirq.undo;

import org.jspecify.annotations.NullMarked;
