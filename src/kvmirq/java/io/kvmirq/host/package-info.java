/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts from a host's files about the path of an interrupt: {@link io.kvmirq.host.HostInterrupts} reads {@code
 * /proc/interrupts}, and {@link io.kvmirq.host.PostingFacts} finds whether the host posts interrupts.
 *
 * <p>A {@link io.kvmirq.backend.HostFiles} reads the host's files from this machine, from a copy of another machine, or
 * from memory. A fact that no file shows is absent and never guessed. The command {@code kvmirq} has another package
 * that reads more facts of a host.
 */
@NotPromised
@NullMarked
package io.kvmirq.host;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
