/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel's ABI in Java.
 *
 * <p>{@link io.kvmirq.backend.libc.Uapi} holds request numbers and layouts, each with the header it comes from.
 * {@link io.kvmirq.backend.libc.LibcBackend} encodes the primitives of the interrupt path from it, over any
 * {@link io.kvmirq.backend.Libc}: {@link io.kvmirq.backend.libc.JnaLibc}, {@link io.kvmirq.backend.libc.JnrLibc} and
 * {@link io.kvmirq.backend.libc.FfmLibc} call libc, the fake kernel answers itself. What goes through the raw door on every
 * binding (vCPU, memory, LAPIC) is encoded from here too.
 *
 * <p>This is the second encoder beside the C compiler. They never share a line, and must emit the same bytes: a C probe,
 * vectors made from the kernel's headers and tapes of the calls compare them.
 *
 * <p>Each adaptor gets errno from where its library keeps it for the calling thread before it returns to Java, so that
 * nothing (a collection, another call) can come between a call and its errno. None allocates on the interrupt path.
 */
@NullMarked
package io.kvmirq.backend.libc;

import org.jspecify.annotations.NullMarked;
