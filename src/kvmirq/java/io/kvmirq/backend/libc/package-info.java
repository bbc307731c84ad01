/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The bindings without C code of kvmirq: the structure layouts are in Java.
 *
 * <p>{@link io.kvmirq.uapi.Uapi} holds request numbers and layouts. {@link io.kvmirq.backend.libc.LibcBackend} encodes
 * the kernel calls of the interrupt path from {@code Uapi}, over any {@link io.kvmirq.backend.Libc}. {@link
 * io.kvmirq.backend.libc.JnaLibc}, {@link io.kvmirq.backend.libc.JnrLibc} and {@link io.kvmirq.backend.libc.FfmLibc}
 * call libc; the fake kernel handles the calls without libc. On every binding, structures for raw calls (vCPU, memory,
 * LAPIC) are encoded from {@code Uapi} too.
 *
 * <p>{@code LibcBackend} is the second encoder of the structures, beside the C compiler. The two encoders share no code
 * and must write the same bytes. A C program, header vectors and a test of the system calls check this.
 *
 * <p>Each adaptor reads the errno that its binding library (JNA, jnr-ffi or java.lang.foreign) saved for the calling
 * thread before it returned to Java. No garbage collection and no other call changes the saved errno. No adaptor
 * allocates on the interrupt path.
 */
@NullMarked
package io.kvmirq.backend.libc;

import org.jspecify.annotations.NullMarked;
