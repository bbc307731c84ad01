/* SPDX-License-Identifier: Apache-2.0 */
/** The command {@code watch}: a screen that stays, or a line for each change. */
@NullMarked
package io.kvmirq.cli.watch;

import org.jspecify.annotations.NullMarked;
