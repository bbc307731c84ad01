/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/**
 * An event in the text of a trace. Immutable.
 *
 * <p>Source: {@code trace_print_context()} and {@code trace_print_lat_fmt()} in kernel/trace/trace_output.c.
 *
 * @param name its name, such as {@code kvm_set_irq}
 * @param cpu where it happened
 * @param task the name of the thread that ran. Any thread may choose any name
 * @param tid the number of that thread
 * @param micros when, in microseconds of the trace's clock
 * @param hardIrq whether the CPU was in the handler of an interrupt
 * @param numbers by the names that {@link EventFormat} gives them
 * @param text as the kernel printed it. It may hold names
 */
public record TraceEvent(
        String name,
        int cpu,
        String task,
        int tid,
        long micros,
        boolean hardIrq,
        Map<String, Long> numbers,
        String text) {
    private static final int MOST_DIGITS = 9;
    private static final int DIGITS_OF_MICROS = 6;
    private static final int FEWEST_FLAGS = 4;
    private static final int FLAG_OF_CONTEXT = 2;

    public TraceEvent {
        numbers = Map.copyOf(numbers);
    }

    /** A number of the event, if its text has it. */
    public OptionalLong number(String key) {
        Long number = numbers.get(key);
        return number == null ? OptionalLong.empty() : OptionalLong.of(number);
    }

    /**
     * Reads the text of a trace: the events of some formats, in their order. Lines of another form are left out.
     *
     * @param formats by the names of their events
     */
    public static List<TraceEvent> read(String text, Map<String, EventFormat> formats) {
        List<TraceEvent> events = new ArrayList<>();
        read(text, formats, events::add, () -> {});
        return events;
    }

    /**
     * Reads the text of a trace, line by line.
     *
     * @param formats by the names of their events
     * @param each takes the events, in their order
     * @param unread called for a line that is neither an event of these formats nor a comment. The name of a thread may
     *     hold a line end, and then its event is two such lines
     */
    public static void read(String text, Map<String, EventFormat> formats, Consumer<TraceEvent> each, Runnable unread) {
        int begin = 0;
        while (begin < text.length()) {
            int newline = text.indexOf('\n', begin);
            int end = newline < 0 ? text.length() : newline;
            if (end > begin && text.charAt(begin) != '#') {
                of(text.substring(begin, end), formats).ifPresentOrElse(each, unread);
            }
            begin = end + 1;
        }
    }

    /**
     * A name, a dash, a thread, a CPU in brackets, flags, a time, the event. The name may have any characters, but it is
     * too short to look like all that follows it.
     */
    private static Optional<TraceEvent> of(String line, Map<String, EventFormat> formats) {
        for (int bracket = line.indexOf(" ["); bracket >= 0; bracket = line.indexOf(" [", bracket + 1)) {
            int close = digits(line, bracket + 2);
            if (close == bracket + 2 || close >= line.length() || line.charAt(close) != ']') {
                continue;
            }
            int flags = spaces(line, close + 1);
            int afterFlags = line.indexOf(' ', flags);
            int time = afterFlags < 0 ? line.length() : spaces(line, afterFlags);
            int colon = line.indexOf(": ", time);
            int name = colon + 2;
            int afterName = colon < 0 ? -1 : line.indexOf(": ", name);
            int tidEnd = line.substring(0, bracket).stripTrailing().length();
            int tid = tidEnd;
            while (tid > 0 && isDigit(line.charAt(tid - 1))) {
                tid--;
            }
            boolean isHeader = afterName > 0
                    && afterFlags - flags >= FEWEST_FLAGS
                    && isTime(line, time, colon)
                    && tid > 1
                    && tid < tidEnd
                    && tidEnd - tid <= MOST_DIGITS
                    && close - bracket - 2 <= MOST_DIGITS
                    && line.charAt(tid - 1) == '-';
            if (isHeader) {
                String event = line.substring(name, afterName);
                EventFormat format = formats.get(event);
                String text = line.substring(afterName + 2);
                Optional<Map<String, Long>> numbers = format == null ? Optional.empty() : format.read(text);
                if (numbers.isEmpty()) {
                    return Optional.empty();
                }
                char context = line.charAt(flags + FLAG_OF_CONTEXT);
                return Optional.of(new TraceEvent(
                        event,
                        Integer.parseInt(line.substring(bracket + 2, close)),
                        line.substring(0, tid - 1).strip(),
                        Integer.parseInt(line.substring(tid, tidEnd)),
                        micros(line.substring(time, colon)),
                        context == 'h' || context == 'H',
                        numbers.get(),
                        text));
            }
        }
        return Optional.empty();
    }

    private static boolean isTime(String line, int begin, int end) {
        int dot = digits(line, begin);
        return end == dot + 1 + DIGITS_OF_MICROS
                && dot > begin
                && dot - begin <= MOST_DIGITS
                && line.charAt(dot) == '.'
                && digits(line, dot + 1) == end;
    }

    private static long micros(String time) {
        return Long.parseLong(time.replace(".", ""));
    }

    private static int digits(String line, int from) {
        int at = from;
        while (at < line.length() && isDigit(line.charAt(at))) {
            at++;
        }
        return at;
    }

    private static int spaces(String line, int from) {
        int at = from;
        while (at < line.length() && line.charAt(at) == ' ') {
            at++;
        }
        return at;
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }
}
