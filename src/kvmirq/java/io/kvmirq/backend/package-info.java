/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The interface to the kernel, implemented by all bindings and the fake kernel. Only binding authors need it.
 *
 * <p>{@link io.kvmirq.backend.KernelBackend} has one method for each kernel call of the interrupt path, and the binding
 * encodes the call's structure. {@link io.kvmirq.backend.Libc} has raw system calls, whose structures the caller
 * encodes. Both take file descriptors, numbers and buffers and return {@code >= 0} or {@code -errno}. They do not throw
 * an exception for an errno, and neither allocate nor retain anything. Buffers are direct and start at position 0.
 * {@link io.kvmirq.backend.Buffers} checks them before each call.
 *
 * <p>The bindings are in sub-packages, and {@code io.kvmirq.backend.choice} selects one that works on this machine. The
 * binding {@code jni} is used only if {@code libkvmirq.so} has the ABI version and the record sizes of {@code Abi}. The
 * fake kernel is a {@link io.kvmirq.backend.BackendProvider} that is used only if selected by name.
 */
@NullMarked
package io.kvmirq.backend;

import org.jspecify.annotations.NullMarked;
