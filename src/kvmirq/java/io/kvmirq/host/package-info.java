/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts about an interrupt's path from a host's files: {@link io.kvmirq.host.HostInterrupts} reads {@code
 * /proc/interrupts}, and {@link io.kvmirq.host.PostingFacts} finds out whether the host posts interrupts.
 *
 * <p>A {@link io.kvmirq.backend.HostFiles} reads files of this machine, of a copy of another one, or from memory. A
 * fact that no file shows is absent and never guessed. The command {@code kvmirq} has another package that reads more
 * host facts.
 */
@NotPromised
@NullMarked
package io.kvmirq.host;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
