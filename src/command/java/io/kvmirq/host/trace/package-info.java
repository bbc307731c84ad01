/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tracepoints of the kernel, recorded for a while. This is the only package that observes a host and writes: a {@link
 * io.kvmirq.host.trace.TraceInstance} makes a directory of its own in tracefs and removes it. A {@link
 * io.kvmirq.host.trace.TraceReader} takes the pages of each CPU out of it and merges their events by time. Offsets come
 * from the {@link io.kvmirq.host.trace.PageFormat} and the {@link io.kvmirq.host.trace.EventFormat} of the running kernel,
 * because they differ between versions.
 */
@NullMarked
package io.kvmirq.host.trace;

import org.jspecify.annotations.NullMarked;
