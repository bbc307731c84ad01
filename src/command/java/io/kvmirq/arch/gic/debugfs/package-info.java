/* SPDX-License-Identifier: Apache-2.0 */
/** The text of debugfs about a VGIC and an ITS. Not exported: the text changes with the kernel. */
@NullMarked
package io.kvmirq.arch.gic.debugfs;

import org.jspecify.annotations.NullMarked;
