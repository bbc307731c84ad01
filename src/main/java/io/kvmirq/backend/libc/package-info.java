/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel's ABI in Java.
 *
 * <p>{@link io.kvmirq.backend.libc.Uapi} holds request numbers and layouts, each with the header it comes from. What
 * goes through the raw door on every binding (vCPU, memory, LAPIC) is encoded from here.
 */
@NullMarked
package io.kvmirq.backend.libc;

import org.jspecify.annotations.NullMarked;
