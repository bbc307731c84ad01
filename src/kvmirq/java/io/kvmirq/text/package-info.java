/* SPDX-License-Identifier: Apache-2.0 */
/** Text that other people wrote, made printable for kvmirq's output. Every package may use this package. */
@NullMarked
package io.kvmirq.text;

import org.jspecify.annotations.NullMarked;
