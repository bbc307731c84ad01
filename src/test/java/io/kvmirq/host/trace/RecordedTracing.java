/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.Fact;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * Tracepoints as a machine of the lab had them: its {@code format} files, one after another, and a trace, from which the
 * events of others are left out.
 */
public final class RecordedTracing implements Tracing {
    /** The machines whose formats are recorded. */
    public static final List<String> NAMES = List.of("x86-6.1", "x86-6.12", "x86-7.2", "arm64-6.1", "arm64-6.12");

    private final Map<String, EventFormat> formats;
    private final Recorded record;
    private final List<String> chosen = new ArrayList<>();
    private boolean closed;

    private RecordedTracing(Map<String, EventFormat> formats, Recorded record) {
        this.formats = formats;
        this.record = record;
    }

    /** The formats of a machine, and a trace. */
    public static RecordedTracing of(String formats, String text, long lost) throws IOException {
        return of(formats, new Recorded(text, lost, 0, true));
    }

    /** The formats of a machine, and a record. */
    public static RecordedTracing of(String formats, Recorded record) throws IOException {
        return new RecordedTracing(formats(formats), record);
    }

    /** The formats of a machine, by the names of the events. */
    public static Map<String, EventFormat> formats(String name) throws IOException {
        Map<String, EventFormat> formats = new TreeMap<>();
        for (String file : resource(name + ".formats").split("(?m)^(?=name: )")) {
            EventFormat format = EventFormat.parse(file).orElseThrow();
            formats.put(format.name(), format);
        }
        return formats;
    }

    /** A trace of a machine. */
    public static String trace(String name) throws IOException {
        return resource(name + ".trace");
    }

    private static String resource(String name) throws IOException {
        try (InputStream in = Objects.requireNonNull(RecordedTracing.class.getResourceAsStream(name), name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    /** The events that were chosen, with their filters. */
    public List<String> chosen() {
        return chosen;
    }

    /** Whether it was closed. */
    public boolean isClosed() {
        return closed;
    }

    @Override
    public Fact<EventFormat> choose(String event, String filter) {
        EventFormat format = formats.get(event.substring(event.indexOf('/') + 1));
        if (format == null) {
            return new Fact.Unknown<>(
                    "this kernel has no tracepoint " + event.replace('/', ':'),
                    "load the modules of KVM, or a kernel that has it");
        }
        chosen.add(filter.isEmpty() ? event : event + " if " + filter);
        return new Fact.Known<>(format);
    }

    @Override
    public Fact<Boolean> start() {
        return new Fact.Known<>(true);
    }

    @Override
    public Fact<Recorded> stop() {
        return new Fact.Known<>(record);
    }

    @Override
    public void close() {
        closed = true;
    }
}
