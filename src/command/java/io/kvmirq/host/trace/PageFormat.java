/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The form of a page of {@code trace_pipe_raw}: a head with a time and the length of the events, and the events. An event
 * has a word with its type and the nanoseconds since the event before. Immutable.
 *
 * <p>Source: {@code ring_buffer_print_page_header()}, {@code ring_buffer_print_entry_header()}, {@code
 * rb_update_read_stamp()} and {@code ring_buffer_read_page()} in kernel/trace/ring_buffer.c, {@code enum
 * ring_buffer_type} in include/linux/ring_buffer.h.
 */
public final class PageFormat {
    /** Takes the contents of a page, in their order. */
    interface Sink {
        /** Events were lost on this CPU before the next one, or the rest of the page cannot be read. */
        void lost(long nanos);

        void event(TraceEvent event);
    }

    /** {@code RB_MISSED_EVENTS} in the length of a page. The bit below says that their number follows the events. */
    private static final long MISSED = 1L << 31;

    private static final long LENGTH = (1L << 30) - 1;
    private static final int MOST_SIZE = 1 << 20;
    /** Bits of an absolute time. The others are those of the time before. */
    private static final int STAMP_BITS = 59;

    private static final int WORD = Integer.BYTES;

    /** A place in a page, in bytes. */
    private record Place(int offset, int size) {}

    /** Numbers of bits in the first word of an event, and the types that are no events. */
    private record Entry(int typeBits, int deltaBits, int padding, int extend, int stamp, int mostWords) {}

    private final Place timestamp;
    private final Place commit;
    private final Place data;
    private final Entry entry;

    private PageFormat(Place timestamp, Place commit, Place data, Entry entry) {
        this.timestamp = timestamp;
        this.commit = commit;
        this.data = data;
        this.entry = entry;
    }

    /**
     * Reads two files of tracefs. Empty if one has another form.
     *
     * @param page the text of {@code events/header_page}
     * @param event the text of {@code events/header_event}
     */
    public static Optional<PageFormat> parse(String page, String event) {
        Optional<Place> timestamp = place(page, "timestamp");
        Optional<Place> commit = place(page, "commit");
        Optional<Place> data = place(page, "data");
        int typeBits = number(event, "type_len +: +(\\d{1,2}) bits");
        int deltaBits = number(event, "time_delta +: +(\\d{1,2}) bits");
        int max = number(event, "data max type_len +== (\\d{1,2})");
        boolean isKnown = timestamp.isPresent()
                && commit.isPresent()
                && data.isPresent()
                && timestamp.get().size == Long.BYTES
                && (commit.get().size == Integer.BYTES || commit.get().size == Long.BYTES)
                && data.get().size >= 2 * WORD
                && data.get().size <= MOST_SIZE
                && timestamp.get().offset + Long.BYTES <= data.get().offset
                && commit.get().offset + commit.get().size <= data.get().offset
                && data.get().offset <= MOST_SIZE
                && typeBits > 0
                && deltaBits > 0
                && typeBits + deltaBits == Integer.SIZE
                && max > 0;
        return isKnown
                ? Optional.of(new PageFormat(
                        timestamp.get(),
                        commit.get(),
                        data.get(),
                        new Entry(
                                typeBits,
                                deltaBits,
                                number(event, "padding +: type == (\\d{1,2})"),
                                number(event, "time_extend +: type == (\\d{1,2})"),
                                number(event, "time_stamp +: type == (\\d{1,2})"),
                                max)))
                : Optional.empty();
    }

    private static Optional<Place> place(String text, String field) {
        Matcher line = Pattern.compile("field: [^;\n]{0,50}\\b" + field + ";\toffset:(\\d{1,7});\tsize:(\\d{1,7});")
                .matcher(text);
        return line.find()
                ? Optional.of(new Place(Integer.parseInt(line.group(1)), Integer.parseInt(line.group(2))))
                : Optional.empty();
    }

    private static int number(String text, String pattern) {
        Matcher number = Pattern.compile(pattern).matcher(text);
        return number.find() ? Integer.parseInt(number.group(1)) : -1;
    }

    /** The length of a page, in bytes. */
    public int size() {
        return data.offset + data.size;
    }

    /** The number of bytes for events in a page. */
    int room() {
        return data.size;
    }

    /**
     * Reads a page.
     *
     * @param page in the byte order of the machine; its position does not count
     * @param cpu whose page it is
     * @param formats by the numbers of the events; others are left out
     */
    void read(ByteBuffer page, int cpu, Map<Integer, EventFormat> formats, Sink sink) {
        if (page.capacity() < size()) {
            sink.lost(Long.MIN_VALUE);
            return;
        }
        long nanos = page.getLong(timestamp.offset);
        long head = commit.size == Long.BYTES ? page.getLong(commit.offset) : page.getInt(commit.offset);
        long end = data.offset + (head & LENGTH);
        if ((head & MISSED) != 0) {
            sink.lost(nanos);
        }
        EventFormat first =
                formats.isEmpty() ? null : formats.values().iterator().next();
        int at = data.offset;
        while (at + WORD <= end && end <= size()) {
            int word = page.getInt(at);
            int type = word & (1 << entry.typeBits) - 1;
            long delta = Integer.toUnsignedLong(word) >>> entry.typeBits;
            long length = length(page, at, type, delta, end);
            if (length < 0 || length > end - at) {
                break;
            }
            if (type == entry.extend) {
                nanos += later(page, at) + delta;
            } else if (type == entry.stamp) {
                long low = later(page, at) + delta;
                nanos = nanos >>> STAMP_BITS << STAMP_BITS | low & (1L << STAMP_BITS) - 1;
            } else if (type != entry.padding) {
                nanos += delta;
                int begin = at + (type == 0 ? 2 * WORD : WORD);
                int bytes = (int) (at + length - begin);
                EventFormat format = first == null ? null : formats.get(first.type(page, begin, bytes));
                if (format != null) {
                    sink.event(new TraceEvent(format, cpu, nanos, page, begin, bytes));
                }
            }
            at += (int) length;
        }
        if (at != end) {
            sink.lost(nanos);
        }
    }

    /** The high bits of a time, in the second word. */
    private long later(ByteBuffer page, int at) {
        return (page.getInt(at + WORD) & 0xffff_ffffL) << entry.deltaBits;
    }

    /** The length of an entry with its first word, in bytes. Negative if it has none. */
    private long length(ByteBuffer page, int at, int type, long delta, long end) {
        if (type == entry.padding && delta == 0) {
            return end - at;
        }
        if (type > 0 && type <= entry.mostWords) {
            return WORD + (long) type * WORD;
        }
        if (at + 2 * WORD > end) {
            return -1;
        }
        if (type == entry.extend || type == entry.stamp) {
            return 2 * WORD;
        }
        long words = page.getInt(at + WORD) & 0xffff_ffffL;
        boolean isLong = type == 0 || type == entry.padding;
        // The length of the data of a long event includes the word that holds it.
        return isLong && words >= WORD ? words + WORD + 3 & ~3L : -1;
    }
}
