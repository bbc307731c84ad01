/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The JNI binding, in which C code in {@code libkvmirq.so} encodes the kernel structures of the interrupt path.
 *
 * <p>{@link io.kvmirq.backend.jni.JniBackend} and {@code JniLibc} declare their native methods, which {@code
 * native/bridge/jni.c} binds by name. A method that takes a buffer checks the buffer, and then calls a native method
 * whose name ends in {@code Checked}. No Java code in this package encodes structures, so tests can compare C with the
 * Java encoder of {@code backend.libc}.
 */
@NullMarked
package io.kvmirq.backend.jni;

import org.jspecify.annotations.NullMarked;
