/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The frame of all commands: parses the command line, reports errors, and prints.
 *
 * <p>A new command implements {@link io.kvmirq.cli.frame.Command}, in the package of its family, and is named in
 * {@code io.kvmirq.cli.Main}.
 */
@NullMarked
package io.kvmirq.cli.frame;

import org.jspecify.annotations.NullMarked;
