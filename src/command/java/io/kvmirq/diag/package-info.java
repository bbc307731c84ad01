/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Findings about a running host: where the interrupts of devices go, why one is not posted, what to change.
 *
 * <p>{@link io.kvmirq.host} shows facts. This package joins them, says of each join how it knows it (observed, taped,
 * inferred or predicted), and compares them with the rules of {@link io.kvmirq.arch.apic} and {@link io.kvmirq.arch.gic}. It reads
 * files and writes nothing, except that a {@link io.kvmirq.diag.LiveWindow} records tracepoints. Commands render what it finds.
 */
@NullMarked
package io.kvmirq.diag;

import org.jspecify.annotations.NullMarked;
