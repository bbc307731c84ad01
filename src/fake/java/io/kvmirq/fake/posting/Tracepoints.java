/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * The tracepoints of a host. All events belong to the one process that calls this kernel. Each vCPU has a thread id,
 * whatever JVM thread runs it. The clock counts events. The caller of each method holds the kernel's lock.
 */
public final class Tracepoints {
    /** The id of the process and of its first thread. */
    public static final int PROCESS = 4711;

    private static final int UNIT = 31;
    private static final int NANOS = 1_000;

    /**
     * An event of a thread at a tracepoint. {@code threads} has this thread, and for {@code sched_switch} also the
     * thread that it is switched with. A field of the event that is not in {@code fields} is 0.
     */
    public record Passed(String name, int cpu, int tid, long nanos, List<Integer> threads, Map<String, Long> fields) {}

    private final Map<String, TraceForm> forms;
    private final List<Consumer<Passed>> buffers = new ArrayList<>();
    private int threads;
    private long clock = NANOS;

    /** {@code namesInhibits}: the kernel prints names of APICv inhibit reasons. */
    Tracepoints(boolean namesInhibits) {
        this.forms = TraceForm.all(namesInhibits);
    }

    /** Returns the formats of all events, keyed by event name. */
    public Map<String, TraceForm> forms() {
        return forms;
    }

    /** Adds a buffer that receives all events from this call on. */
    public void add(Consumer<Passed> buffer) {
        buffers.add(buffer);
    }

    /** Ends {@link #add}. */
    public void remove(Consumer<Passed> buffer) {
        buffers.remove(buffer);
    }

    int newThread() {
        threads++;
        return PROCESS + threads;
    }

    /** Records an event, on processor 0, of the thread that makes a system call on a VM. */
    public void call(String name, Map<String, Long> fields) {
        pass(PROCESS, 0, name, List.of(PROCESS), fields);
    }

    /** Passes an event of the IOMMU's interrupt thread, on processor 0. */
    void ofUnit(String name, Map<String, Long> fields) {
        pass(UNIT, 0, name, List.of(UNIT), fields);
    }

    void pass(int tid, int cpu, String name, List<Integer> concerned, Map<String, Long> fields) {
        if (!buffers.isEmpty()) {
            clock += NANOS;
            Passed event = new Passed(name, cpu, tid, clock, concerned, fields);
            buffers.forEach(buffer -> buffer.accept(event));
        }
    }
}
