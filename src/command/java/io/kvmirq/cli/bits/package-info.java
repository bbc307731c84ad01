/* SPDX-License-Identifier: Apache-2.0 */
/** The commands of bit formats: {@code decode}, {@code encode} and {@code decide}. They make no call to KVM. */
@NullMarked
package io.kvmirq.cli.bits;

import org.jspecify.annotations.NullMarked;
