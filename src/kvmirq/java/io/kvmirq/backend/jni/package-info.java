/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The binding through {@code libkvmirq.so}: C owns the structure layouts of the interrupt path.
 *
 * <p>{@link io.kvmirq.backend.jni.JniBackend} and {@code JniLibc} declare their native methods;
 * {@code native/bridge/jni.c} binds these methods by name. A method with a buffer checks the buffer and then calls the
 * native method with the suffix {@code Checked}. The package encodes no structure of the interrupt path: C and the Java
 * encoder of {@code backend.libc} must stay independent.
 */
@NullMarked
package io.kvmirq.backend.jni;

import org.jspecify.annotations.NullMarked;
