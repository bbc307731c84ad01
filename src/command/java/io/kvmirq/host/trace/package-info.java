/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tracepoints of the kernel, recorded for a while. This is the only package that observes a host and writes: a {@link
 * io.kvmirq.host.trace.TraceInstance} makes a directory of its own in tracefs and removes it. Events are read by the
 * {@link io.kvmirq.host.trace.EventFormat} that this kernel has for them, because their texts differ between versions.
 */
@NullMarked
package io.kvmirq.host.trace;

import org.jspecify.annotations.NullMarked;
