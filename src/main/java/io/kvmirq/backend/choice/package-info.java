/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The choice among the bindings. This package lies above all of them and is the only one that names them.
 *
 * <p>{@link io.kvmirq.backend.choice.Backends} tries the bindings best first, loads the classes of a binding only when it tries
 * it, and remembers why the others do not work. The fake kernel is a {@link io.kvmirq.backend.BackendProvider}: it is found
 * through {@link java.util.ServiceLoader}, and only when it is asked for by name.
 */
@NullMarked
package io.kvmirq.backend.choice;

import org.jspecify.annotations.NullMarked;
