/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The commands about the host: {@code backends} (the bindings that work here), {@code errno} (the causes of an errno),
 * {@code list} and {@code explain} (the path of device interrupts).
 */
@NullMarked
package io.kvmirq.cli.host;

import org.jspecify.annotations.NullMarked;
