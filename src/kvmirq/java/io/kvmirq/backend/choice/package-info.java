/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Chooses among the kernel bindings. Only this package depends on all bindings.
 *
 * <p>{@link io.kvmirq.backend.choice.Backends} tries the bindings in order of preference, loads a binding's classes
 * only when it tries the binding, and reports why other bindings do not work. The fake kernel is a {@link
 * io.kvmirq.backend.BackendProvider}, which {@link java.util.ServiceLoader} finds if it is selected.
 */
@NullMarked
package io.kvmirq.backend.choice;

import org.jspecify.annotations.NullMarked;
