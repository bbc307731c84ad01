/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Merges several tracings with one clock: the events of all CPUs in the order of their times. A round reads each CPU
 * once, one after another, so it delivers the events that are not later than the last one of the round before: of
 * these, all are read. Rounds come as fast as the buffers fill. Not thread-safe, except for {@link #close}: after
 * {@link #start} a thread of its own calls the sinks, until {@link #end}.
 */
public final class TraceReader implements AutoCloseable {
    /** Takes events in the order of their times. */
    public interface Sink {
        void event(TraceEvent event);

        /** Events are missing at this place. */
        default void lost() {}
    }

    private static final long MILLIS_BETWEEN_ROUNDS = 20;

    private static final class Source {
        final Tracing tracing;
        final PageFormat form;
        final Map<Integer, EventFormat> formats = new HashMap<>();
        final Sink sink;
        final Map<Integer, Lane> lanes = new HashMap<>();
        boolean failed;

        Source(Tracing tracing, PageFormat form, Collection<EventFormat> formats, Sink sink) {
            this.tracing = tracing;
            this.form = form;
            this.sink = sink;
            formats.forEach(format -> this.formats.put(format.id(), format));
        }
    }

    /** An event; null for a place where events are missing. */
    private record Item(long nanos, @Nullable TraceEvent event) {}

    /** The events of a CPU that are read and not delivered. */
    private final class Lane implements PageFormat.Sink {
        final Source source;
        final Deque<Item> items = new ArrayDeque<>();
        long last = Long.MIN_VALUE;

        Lane(Source source) {
            this.source = source;
        }

        @Override
        public void lost(long nanos) {
            add(nanos, null);
        }

        @Override
        public void event(TraceEvent event) {
            add(event.nanos(), event);
        }

        private void add(long nanos, @Nullable TraceEvent event) {
            last = Math.max(last, nanos);
            newest = Math.max(newest, last);
            items.add(new Item(last, event));
        }

        long next() {
            return items.element().nanos;
        }
    }

    private final List<Source> sources = new ArrayList<>();
    private final CountDownLatch ending = new CountDownLatch(1);
    private final Thread thread = new Thread(this::rounds, "trace");
    private long newest = Long.MIN_VALUE;
    private Optional<String> failure = Optional.empty();

    /**
     * Adds a tracing, before {@link #start}.
     *
     * @param form of its pages
     * @param formats of its events
     */
    public void add(Tracing tracing, PageFormat form, Collection<EventFormat> formats, Sink sink) {
        sources.add(new Source(tracing, form, formats, sink));
    }

    /** Begins to read while events are recorded. */
    public void start() {
        thread.setDaemon(true);
        thread.start();
    }

    private void rounds() {
        try {
            boolean full = false;
            while (!ending.await(full ? 0 : MILLIS_BETWEEN_ROUNDS, TimeUnit.MILLISECONDS)) {
                full = round();
            }
        } catch (InterruptedException e) {
            // It is closed.
        }
    }

    /** @return whether a buffer was half full */
    boolean round() {
        long all = newest;
        boolean full = read();
        deliver(all);
        return full;
    }

    /** @return whether a buffer was half full */
    private boolean read() {
        boolean full = false;
        for (Source source : sources) {
            if (source.failed) {
                continue;
            }
            try {
                full |= source.tracing.read((cpu, page) -> page(source, cpu, page));
            } catch (IOException e) {
                source.failed = true;
                failure = Optional.of(String.valueOf(e.getMessage()));
            }
        }
        return full;
    }

    private void page(Source source, int cpu, ByteBuffer page) {
        source.form.read(page, cpu, source.formats, source.lanes.computeIfAbsent(cpu, key -> new Lane(source)));
    }

    /** Delivers the events up to a time. */
    private void deliver(long until) {
        PriorityQueue<Lane> waiting = new PriorityQueue<>(Comparator.comparingLong(Lane::next));
        sources.forEach(source -> source.lanes.values().stream()
                .filter(lane -> !lane.items.isEmpty())
                .forEach(waiting::add));
        while (!waiting.isEmpty() && waiting.element().next() <= until) {
            Lane lane = waiting.remove();
            long next = waiting.isEmpty()
                    ? until
                    : Math.min(until, waiting.element().next());
            do {
                TraceEvent event = lane.items.remove().event;
                if (event == null) {
                    lane.source.sink.lost();
                } else {
                    lane.source.sink.event(event);
                }
            } while (!lane.items.isEmpty() && lane.next() <= next);
            if (!lane.items.isEmpty()) {
                waiting.add(lane);
            }
        }
    }

    /**
     * Delivers the rest, and reads no more. The tracings record no more.
     *
     * @return why a tracing could not be read to its end; empty if all were
     */
    public Optional<String> end() {
        ending.countDown();
        join();
        read();
        deliver(Long.MAX_VALUE);
        sources.stream().filter(source -> source.failed).forEach(source -> source.sink.lost());
        return failure;
    }

    private void join() {
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Stops reading, before the tracings are closed. May be called again, and from any thread. */
    @Override
    public void close() {
        ending.countDown();
        thread.interrupt();
        join();
    }
}
