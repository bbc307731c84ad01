/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Finds and loads kvmirq's native library, and unpacks the libraries of JNA and jnr-ffi into a private directory. The
 * package is not exported, because users choose a binding by name.
 *
 * <p>{@link io.kvmirq.backend.library.NativeLibrary} finds {@code libkvmirq.so}, and never loads a file that another
 * user could write.
 */
@NullMarked
package io.kvmirq.backend.library;

import org.jspecify.annotations.NullMarked;
