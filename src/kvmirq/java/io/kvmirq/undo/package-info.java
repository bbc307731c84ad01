/* SPDX-License-Identifier: Apache-2.0 */
/** Undoes a set-up of many steps that failed. Every package may use this package. */
@NullMarked
package io.kvmirq.undo;

import org.jspecify.annotations.NullMarked;
