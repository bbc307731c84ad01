/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The tracepoints of a host. Each thread prints where it passes one, as the kernel does. The process is the one that calls
 * this kernel; each vCPU has a thread of its own, whichever thread of the JVM moves it. The clock counts events. The
 * caller of each method holds the kernel's lock.
 */
public final class Tracepoints {
    /** The process, and its first thread. */
    public static final int PROCESS = 4711;

    private static final int MICROS = 1_000_000;

    /** Takes the lines of events. */
    public interface Buffer {
        /** An event, such as {@code kvm_fpu}, and the threads that it concerns: of {@code sched_switch} both. */
        void event(String name, List<Integer> threads, String line);
    }

    private final List<Buffer> buffers = new ArrayList<>();
    private int threads;
    private long clock = MICROS;

    Tracepoints() {}

    /** Adds a buffer that takes all events from now on. */
    public void add(Buffer buffer) {
        buffers.add(buffer);
    }

    /** Ends {@link #add}. */
    public void remove(Buffer buffer) {
        buffers.remove(buffer);
    }

    /** The number of a new thread. */
    int newThread() {
        threads++;
        return PROCESS + threads;
    }

    /** An event of the thread that makes a call of the VM, on processor 0. */
    public void call(String name, String text) {
        pass("vmm", PROCESS, 0, name, List.of(PROCESS), text);
    }

    void pass(String task, int tid, int cpu, String name, List<Integer> concerned, String text) {
        if (buffers.isEmpty()) {
            return;
        }
        clock++;
        String line = String.format(
                Locale.ROOT,
                "%16s-%-7d [%03d] d..2. %5d.%06d: %s: %s\n",
                task,
                tid,
                cpu,
                clock / MICROS,
                clock % MICROS,
                name,
                text);
        buffers.forEach(buffer -> buffer.event(name, concerned, line));
    }
}
