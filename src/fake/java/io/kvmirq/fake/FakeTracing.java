/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.NotPromised;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.posting.TraceForm;
import io.kvmirq.fake.posting.TracePages;
import io.kvmirq.fake.posting.Tracepoints;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;

/**
 * A trace buffer of the fake kernel, like a tracefs instance. The buffer records the events that {@link #choose}
 * enabled, of all threads or only of those that {@link #only} selects. To get a buffer, call {@link
 * FakeKernel#tracing}. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="tracing"}
 */
public final class FakeTracing implements AutoCloseable {
    /** The id of the process to which all vCPU threads belong. */
    @NotPromised
    public static final int PROCESS = Tracepoints.PROCESS;

    private static final class Cpu {
        final Deque<Tracepoints.Passed> events = new ArrayDeque<>();
        boolean lost;
    }

    private final FakeTime time;
    private final Optional<Tracepoints> host;
    private final Set<String> chosen = new HashSet<>();
    private final Map<Integer, Cpu> cpus = new TreeMap<>();
    private final Consumer<Tracepoints.Passed> buffer = this::event;
    private Set<Integer> only = Set.of();
    private int max = Integer.MAX_VALUE;
    private long lost;

    FakeTracing(FakeTime time, Optional<Tracepoints> host) {
        this.time = time;
        this.host = host;
    }

    /**
     * Enables an event such as {@code kvm/kvm_fpu}. Returns the event's {@code format} file, or empty if this kernel
     * never records the event.
     */
    public Optional<String> choose(String event) {
        Objects.requireNonNull(event, "event is null");
        return time.locked(() -> {
            String name = event.substring(event.indexOf('/') + 1);
            Optional<TraceForm> form =
                    host.flatMap(points -> Optional.ofNullable(points.forms().get(name)));
            form.ifPresent(known -> chosen.add(name));
            return form.map(TraceForm::text);
        });
    }

    /** Returns the text of the tracefs file {@code events/header_page}. */
    public String headerPage() {
        return TracePages.HEADER_PAGE;
    }

    /** Returns the text of the tracefs file {@code events/header_event}. */
    public String headerEvent() {
        return TracePages.HEADER_EVENT;
    }

    /** Records only events of these threads ({@code set_event_pid}). An empty set means all threads. */
    public void only(Set<Integer> threads) {
        Objects.requireNonNull(threads, "threads is null");
        time.changing(() -> {
            only = Set.copyOf(threads);
        });
    }

    /** Sets the buffer's size in events per CPU. In a full buffer, a new event replaces the oldest. */
    public void limit(int events) {
        time.changing(() -> {
            max = events;
        });
    }

    /** Starts recording. */
    public void start() {
        time.changing(() -> host.ifPresent(points -> points.add(buffer)));
    }

    private void event(Tracepoints.Passed event) {
        if (chosen.contains(event.name())
                && (only.isEmpty() || event.threads().stream().anyMatch(only::contains))) {
            Cpu cpu = cpus.computeIfAbsent(event.cpu(), key -> new Cpu());
            cpu.events.add(event);
            if (cpu.events.size() > max) {
                cpu.events.remove();
                cpu.lost = true;
                lost++;
            }
        }
    }

    /**
     * Removes the events from the buffer. Returns pages as in {@code per_cpu/cpuN/trace_pipe_raw}, keyed by CPU number,
     * in this machine's byte order. A flag marks a page before which events were lost.
     */
    public Map<Integer, List<ByteBuffer>> read() {
        return time.locked(() -> {
            Map<Integer, List<ByteBuffer>> pages = new TreeMap<>();
            cpus.forEach((number, cpu) -> pages.put(number, take(cpu)));
            cpus.clear();
            return pages;
        });
    }

    private List<ByteBuffer> take(Cpu cpu) {
        TracePages pages = new TracePages();
        if (cpu.lost) {
            pages.miss();
        }
        Map<String, TraceForm> forms = host.map(Tracepoints::forms).orElse(Map.of());
        cpu.events.forEach(event -> pages.add(
                event.nanos(), Objects.requireNonNull(forms.get(event.name())).bytes(event)));
        return pages.pages();
    }

    /** Returns the number of events that newer events have overwritten since the last call of this method. */
    public long lost() {
        return time.locked(() -> {
            long count = lost;
            lost = 0;
            return count;
        });
    }

    /** Stops recording. */
    @Override
    public void close() {
        time.changing(() -> host.ifPresent(points -> points.remove(buffer)));
    }
}
