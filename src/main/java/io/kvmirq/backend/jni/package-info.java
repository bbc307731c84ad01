/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Typed calls into {@code native/}: C owns the structure layouts of the interrupt path.
 *
 * <p>{@link io.kvmirq.backend.jni.Native} lists the functions of {@code native/jni.c}, name for name;
 * {@link io.kvmirq.backend.jni.JniBackend} checks buffers and calls. It never encodes a structure of the interrupt path
 * itself: that would make the two encoders of this project one.
 */
@NullMarked
package io.kvmirq.backend.jni;

import org.jspecify.annotations.NullMarked;
