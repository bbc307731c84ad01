/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The JNI binding: C code in {@code libkvmirq.so} encodes the kernel structures of the interrupt path.
 *
 * <p>{@link io.kvmirq.backend.jni.JniBackend} and {@code JniLibc} declare their native methods;
 * {@code native/bridge/jni.c} binds these methods by name. A method that takes a buffer checks the buffer and then
 * calls a native method, whose name ends in {@code Checked}. No Java code of this package encodes structures, so tests
 * can compare C with the Java encoder of {@code backend.libc}.
 */
@NullMarked
package io.kvmirq.backend.jni;

import org.jspecify.annotations.NullMarked;
