/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.nio.ByteBuffer;
import java.util.OptionalLong;
import java.util.Set;

/** An event in a page of a trace, whose bytes must not change. Immutable. */
public final class TraceEvent {
    private static final String FLAGS = "common_flags";
    private static final String TID = "common_pid";
    /** {@code TRACE_FLAG_HARDIRQ} in include/linux/trace_events.h. */
    private static final int HARD_IRQ = 1 << 3;

    private final EventFormat format;
    private final int cpu;
    private final long nanos;
    private final ByteBuffer page;
    private final int at;
    private final int length;

    TraceEvent(EventFormat format, int cpu, long nanos, ByteBuffer page, int at, int length) {
        this.format = format;
        this.cpu = cpu;
        this.nanos = nanos;
        this.page = page;
        this.at = at;
        this.length = length;
    }

    /** The event's name, such as {@code kvm_set_irq}. */
    public String name() {
        return format.name();
    }

    /** The number of the CPU where it happened. */
    public int cpu() {
        return cpu;
    }

    /** The number of the thread that ran; -1 if the event does not say. */
    public int tid() {
        return (int) number(TID).orElse(-1);
    }

    /** When it happened, in nanoseconds of the trace's clock. */
    public long nanos() {
        return nanos;
    }

    /** Whether the CPU was in the handler of an interrupt. */
    public boolean hardIrq() {
        return (number(FLAGS).orElse(0) & HARD_IRQ) != 0;
    }

    /** A field that is a number. Empty if the event has no such field. */
    public OptionalLong number(String field) {
        return format.number(page, at, length, field);
    }

    /** The names of the flags that are set in a field, as this kernel names them. */
    public Set<String> flags(String field) {
        return format.names(field, number(field).orElse(0));
    }

    /** Whether this kernel has names for the flags of a field. */
    boolean namesFlags(String field) {
        return format.namesFlags(field) && number(field).isPresent();
    }
}
