/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Findings about a running host: the paths of device interrupts, the reasons why one is not posted, and remedies.
 *
 * <p>{@link io.kvmirq.host} reads facts. This package joins them, records the evidence of each join (observed,
 * inferred or predicted), and compares them with the rules of {@link io.kvmirq.arch.apic} and {@link
 * io.kvmirq.arch.gic}. It reads files and writes nothing, except that a {@link io.kvmirq.diag.LiveWindow} records
 * tracepoints. Commands print the findings.
 */
@NullMarked
package io.kvmirq.diag;

import org.jspecify.annotations.NullMarked;
