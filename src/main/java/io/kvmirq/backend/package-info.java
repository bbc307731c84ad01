/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The seam to the kernel, never seen by users.
 *
 * <p>{@link io.kvmirq.backend.KernelBackend} has one method per primitive of the interrupt path, whose structures the
 * binding encodes; {@link io.kvmirq.backend.Libc} is the raw door for everything else, encoded by the caller. Both speak
 * numbers: file descriptors and scalars in, {@code >= 0} or {@code -errno} out, no exceptions, no allocation, nothing
 * kept. Buffers are direct, start at position 0 and are checked by {@link io.kvmirq.backend.Buffers} before each call.
 *
 * <p>{@link io.kvmirq.backend.Backends} finds a binding that works here and remembers why the others do not. A binding
 * is used only after a handshake: equal ABI major, at least our minor, equal sizes of shared records.
 * The fake kernel is a {@link io.kvmirq.backend.BackendProvider}: asked for by name, never chosen.
 * {@link io.kvmirq.backend.NativeLibrary} finds the compiled one and loads nothing that another user could have written.
 */
@NullMarked
package io.kvmirq.backend;

import org.jspecify.annotations.NullMarked;
