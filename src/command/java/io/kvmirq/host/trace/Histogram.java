/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The histograms of {@code hist} triggers: the number of hits of an event for each combination of their keys.
 *
 * <p>Source: {@code hist_trigger_show()} in kernel/trace/trace_events_hist.c.
 */
final class Histogram {
    private static final Pattern ROW =
            Pattern.compile("(?m)^\\{ (.*?) } hitcount: +(\\d{1,18})\\s*(?:max: +(\\d{1,18}))?");
    private static final Pattern KEY = Pattern.compile("([a-z_]+): +(?:~ 2\\^)?(\\d{1,20}) *(?:, |$)");
    private static final Pattern DROPPED = Pattern.compile("(?m)^ +Dropped: (\\d{1,18})$");

    /** A row, or the number of hits that had no row, and its count. */
    private static final Pattern COUNT = Pattern.compile("((?:\\{ .* } hitcount|    Dropped): +)(\\d{1,18})(.*)");

    private static final String EACH = "(?m)^# event histogram$";

    private Histogram() {}

    /**
     * A combination of keys, and how often it was passed. Negative values are sign-extended to 64 bits. A key {@code .log2} is
     * the power of two that is not below its value.
     *
     * @param max the greatest value of a trigger with {@code onmax}; 0 for others
     */
    record Row(Map<String, Long> keys, long count, long max) {
        long key(String name) {
            return keys.getOrDefault(name, 0L);
        }
    }

    /**
     * The histogram of a trigger.
     *
     * @param text of a {@code hist} file, which has one for each trigger of its event
     * @param keys of the trigger, with commas between. Without such a trigger there are no rows
     */
    static List<Row> of(String text, String keys) {
        List<Row> rows = new ArrayList<>();
        for (String part : text.split(EACH)) {
            if (isOf(keys, part)) {
                Matcher row = ROW.matcher(part);
                while (row.find()) {
                    String max = row.group(3);
                    rows.add(new Row(
                            keys(row.group(1)), Long.parseLong(row.group(2)), max == null ? 0 : Long.parseLong(max)));
                }
            }
        }
        return rows;
    }

    private static boolean isOf(String keys, String histogram) {
        return histogram.contains("# trigger info: hist:keys=" + keys + ":");
    }

    /** The number of events without a free row, for the triggers with these keys. */
    static long dropped(String text, String... keys) {
        return Stream.of(text.split(EACH))
                .filter(part -> Stream.of(keys).anyMatch(each -> isOf(each, part)))
                .flatMap(part -> DROPPED.matcher(part).results())
                .mapToLong(found -> Long.parseLong(found.group(1)))
                .sum();
    }

    /** A {@code hist} file with the counts since an earlier text of it, without rows that did not grow. */
    static String since(String earlier, String text) {
        Map<String, Long> before = new HashMap<>();
        counted(earlier, before::putIfAbsent);
        return counted(text, (key, count) -> count - before.getOrDefault(key, 0L));
    }

    /** The text with other counts. Those that are null or 0 are left out. */
    private static String counted(String text, BiFunction<String, Long, @Nullable Long> counts) {
        StringBuilder changed = new StringBuilder();
        String trigger = "";
        for (String line : text.split("\n")) {
            Matcher count = COUNT.matcher(line);
            if (count.matches()) {
                Long other = counts.apply(trigger + count.group(1).stripTrailing(), Long.valueOf(count.group(2)));
                line = other == null || other == 0 ? "" : count.group(1) + other + count.group(3);
            } else if (line.startsWith("# trigger info")) {
                trigger = line;
            }
            changed.append(line).append('\n');
        }
        return changed.toString();
    }

    private static Map<String, Long> keys(String text) {
        Map<String, Long> keys = new LinkedHashMap<>();
        Matcher key = KEY.matcher(text);
        while (key.find()) {
            keys.put(key.group(1), new BigInteger(key.group(2)).longValue());
        }
        return keys;
    }
}
