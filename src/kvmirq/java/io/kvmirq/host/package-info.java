/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts of a host that its files show and that a path of an interrupt needs: {@link io.kvmirq.host.HostInterrupts} reads
 * {@code /proc/interrupts}, and {@link io.kvmirq.host.PostingFacts} whether the host posts.
 *
 * <p>A {@link io.kvmirq.backend.HostFiles} gives the files: those of this machine, a copy that came from another
 * machine, or files in memory. A fact that a file does not show is absent; it is never guessed. The command reads more
 * of a host, in a package of its own.
 */
@NotPromised
@NullMarked
package io.kvmirq.host;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
