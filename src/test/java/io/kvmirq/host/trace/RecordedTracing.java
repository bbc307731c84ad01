/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.fake.posting.TracePages;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Tracepoints as a machine of the lab had them: its {@code format} files, one after another, and a trace, from which the
 * events of others are left out.
 */
public final class RecordedTracing implements Tracing {
    /** The machines whose formats are recorded. */
    public static final List<String> NAMES = List.of("x86-6.1", "x86-6.12", "x86-7.2", "arm64-6.1", "arm64-6.12");

    /** The form that all machines of the lab have. */
    static final PageFormat PAGES =
            PageFormat.parse(TracePages.HEADER_PAGE, TracePages.HEADER_EVENT).orElseThrow();

    private final Map<String, EventFormat> formats;
    private final Map<Integer, List<ByteBuffer>> pages;
    private final Lost lost;
    private final boolean whole;
    private final List<String> chosen = new ArrayList<>();
    private boolean closed;

    private RecordedTracing(
            Map<String, EventFormat> formats, Map<Integer, List<ByteBuffer>> pages, Lost lost, boolean whole) {
        this.formats = formats;
        this.pages = new TreeMap<>(pages);
        this.lost = lost;
        this.whole = whole;
    }

    /** The formats of a machine, and a trace. */
    public static RecordedTracing of(String formats, String text, long lost) throws IOException {
        return of(formats, text, new Lost(lost, 0), true);
    }

    /**
     * The formats of a machine, and a trace.
     *
     * @param whole whether it can be read to its end
     */
    public static RecordedTracing of(String formats, String text, Lost lost, boolean whole) throws IOException {
        return new RecordedTracing(formats(formats), pages(formats, text, lost.overwritten() > 0), lost, whole);
    }

    /** The tracing of a machine whose kernel has another word in its formats. */
    public static RecordedTracing newer(String formats, String text, String word, String other) throws IOException {
        String known = resource(formats + ".formats");
        return new RecordedTracing(
                parsed(known.replace(word, other)), pages(formats, text, false), new Lost(0, 0), true);
    }

    private static Map<Integer, List<ByteBuffer>> pages(String formats, String text, boolean lost) throws IOException {
        return new TextTrace(resource(formats + ".formats")).pages(text, lost);
    }

    /** The events of a trace in the order of their times. An empty one stands where events are missing. */
    public static List<Optional<TraceEvent>> events(String formats, String text, boolean lost) throws IOException {
        List<Optional<TraceEvent>> events = new ArrayList<>();
        TraceReader reader = new TraceReader();
        RecordedTracing tracing = of(formats, text, new Lost(lost ? 1 : 0, 0), true);
        reader.add(tracing, PAGES, tracing.formats.values(), new TraceReader.Sink() {
            @Override
            public void event(TraceEvent event) {
                events.add(Optional.of(event));
            }

            @Override
            public void lost() {
                events.add(Optional.empty());
            }
        });
        reader.end();
        return events;
    }

    /** The formats of a machine, by the names of the events. */
    public static Map<String, EventFormat> formats(String name) throws IOException {
        return parsed(resource(name + ".formats"));
    }

    private static Map<String, EventFormat> parsed(String files) {
        Map<String, EventFormat> formats = new TreeMap<>();
        for (String file : files.split("(?m)^(?=name: )")) {
            EventFormat format = EventFormat.parse(file).orElseThrow();
            formats.put(format.name(), format);
        }
        return formats;
    }

    /** A trace of a machine. */
    public static String trace(String name) throws IOException {
        return resource(name + ".trace");
    }

    /** A page of a machine, as its kernel had it. */
    static ByteBuffer page(String name) throws IOException {
        return ByteBuffer.wrap(bytes(name + ".page")).order(ByteOrder.LITTLE_ENDIAN);
    }

    static String resource(String name) throws IOException {
        return new String(bytes(name), StandardCharsets.UTF_8);
    }

    private static byte[] bytes(String name) throws IOException {
        try (InputStream in = Objects.requireNonNull(RecordedTracing.class.getResourceAsStream(name), name)) {
            return in.readAllBytes();
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
    public Known<EventFormat> choose(String event, String filter) {
        EventFormat format = formats.get(event.substring(event.indexOf('/') + 1));
        if (format == null) {
            return new Known.Unknown<>(
                    "this kernel has no tracepoint " + event.replace('/', ':'),
                    "load KVM's modules, or use a kernel that has it");
        }
        chosen.add(filter.isEmpty() ? event : event + " if " + filter);
        return new Known.Observed<>(format);
    }

    @Override
    public Known<PageFormat> start() {
        return new Known.Observed<>(PAGES);
    }

    @Override
    public boolean read(Pages taker) throws IOException {
        pages.forEach((cpu, own) -> own.forEach(page -> taker.page(cpu, page)));
        pages.clear();
        if (!whole) {
            throw new IOException("it is gone");
        }
        return false;
    }

    @Override
    public Known<Lost> stop() {
        return new Known.Observed<>(lost);
    }

    @Override
    public void close() {
        closed = true;
    }
}
