/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts about an interrupt's path from a host's files. {@link io.kvmirq.host.HostInterrupts} parses {@code
 * /proc/interrupts}, and {@link io.kvmirq.host.PostingFacts} determines whether the host can post interrupts.
 *
 * <p>A {@link io.kvmirq.backend.HostFiles} reads this machine's files, a copy of another machine's, or files in memory.
 * A fact that no file shows is absent and never guessed. The command {@code kvmirq} has another package that reads more
 * host facts.
 */
@NotPromised
@NullMarked
package io.kvmirq.host;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
