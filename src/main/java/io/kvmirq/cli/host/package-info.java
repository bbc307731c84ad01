/* SPDX-License-Identifier: Apache-2.0 */
/** The commands {@code backends} and {@code errno}: which bindings work here, and what an error means. */
@NullMarked
package io.kvmirq.cli.host;

import org.jspecify.annotations.NullMarked;
