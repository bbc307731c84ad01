/* SPDX-License-Identifier: Apache-2.0 */
/** The command {@code selftest}. */
@NullMarked
package io.kvmirq.cli.selftest;

import org.jspecify.annotations.NullMarked;
