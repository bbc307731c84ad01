/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The bindings that need no C code from kvmirq, because Java code encodes the kernel structures.
 *
 * <p>{@link io.kvmirq.uapi.Uapi} holds request numbers and layouts. {@link io.kvmirq.backend.libc.LibcBackend} encodes
 * the kernel calls of the interrupt path from {@code Uapi}, and makes them through any {@link io.kvmirq.backend.Libc}.
 * {@link io.kvmirq.backend.libc.JnaLibc}, {@link io.kvmirq.backend.libc.JnrLibc} and {@link
 * io.kvmirq.backend.libc.FfmLibc} call libc, and the fake kernel implements {@code Libc} in Java. With every binding,
 * the structures of raw calls (vCPU, memory, LAPIC) are encoded from {@code Uapi} too.
 *
 * <p>{@code LibcBackend} is the second encoder of the structures, besides the C library. The two encoders share no code
 * and must write the same bytes. Tests compare the bytes with a C program, kernel headers and traced calls.
 *
 * <p>{@code JnaLibc}, {@code JnrLibc} and {@code FfmLibc} read the errno that their library saved for the calling
 * thread before it returned to Java. No garbage collection and no other call changes the saved errno. No {@code Libc}
 * allocates on the interrupt path.
 */
@NullMarked
package io.kvmirq.backend.libc;

import org.jspecify.annotations.NullMarked;
