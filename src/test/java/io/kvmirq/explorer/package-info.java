/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Every order in which a few actors' atomic steps can happen, for models of the hardware and of the kernel.
 *
 * <p>An actor is a list of operations; an operation is plain code over a {@link io.kvmirq.explorer.Cpu}, and each of
 * its accesses is a step. The code must depend on nothing but what its accesses return: the explorer runs it once for
 * each list of results, to learn its next access, and steps through what it learnt. With
 * {@link io.kvmirq.explorer.Memory#STORE_BUFFERS} a store is a step into the actor's buffer, and its way from there to
 * memory is another, as x86 has it.
 */
@NullMarked
package io.kvmirq.explorer;

import org.jspecify.annotations.NullMarked;
