/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Reads facts about an interrupt's path from a host's files. {@link io.kvmirq.host.HostInterrupts} parses {@code
 * /proc/interrupts}, and {@link io.kvmirq.host.PostingFacts} determines whether the host can post interrupts.
 *
 * <p>A {@link io.kvmirq.backend.HostFiles} reads this machine's files, a copy of another machine's, or files in memory.
 * A fact that no file shows is absent and never guessed. More host facts are read by another package, which is part of
 * the command {@code kvmirq}.
 */
@NotPromised
@NullMarked
package io.kvmirq.host;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
