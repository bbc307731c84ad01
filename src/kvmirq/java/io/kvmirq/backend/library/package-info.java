/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Finds the native libraries of kvmirq, JNA and jnr-ffi, unpacks them into a private directory and loads them. The
 * package is not exported, because users choose a binding by name.
 *
 * <p>{@link io.kvmirq.backend.library.NativeLibrary} finds {@code libkvmirq.so}, and never loads a file that another
 * user could write.
 */
@NullMarked
package io.kvmirq.backend.library;

import org.jspecify.annotations.NullMarked;
