/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The commands about the host: {@code backends} and {@code errno} (which bindings work here, and what an error means), and
 * {@code list} and {@code explain} (where the interrupts of devices go).
 */
@NullMarked
package io.kvmirq.cli.host;

import org.jspecify.annotations.NullMarked;
