/* SPDX-License-Identifier: Apache-2.0 */
/** Parsers of the debugfs files of a VGIC and an ITS. Not exported: the text changes with the kernel. */
@NullMarked
package io.kvmirq.arch.gic.debugfs;

import org.jspecify.annotations.NullMarked;
