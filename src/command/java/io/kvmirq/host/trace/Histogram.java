/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The histograms of {@code hist} triggers: how often an event was passed with each combination of their keys.
 *
 * <p>Source: {@code hist_trigger_show()} in kernel/trace/trace_events_hist.c.
 */
final class Histogram {
    private static final Pattern ROW = Pattern.compile("(?m)^\\{ (.*?) } hitcount: +(\\d{1,18})");
    private static final Pattern KEY = Pattern.compile("([a-z_]+): +(\\d{1,20})(?:, |$)");
    private static final Pattern DROPPED = Pattern.compile("(?m)^ +Dropped: (\\d{1,18})$");

    private Histogram() {}

    /** A combination of keys, and how often it was passed. Negative values are sign-extended to 64 bits. */
    record Row(Map<String, Long> keys, long count) {
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
        for (String one : text.split("(?m)^# event histogram$")) {
            if (one.contains("# trigger info: hist:keys=" + keys + ":")) {
                Matcher row = ROW.matcher(one);
                while (row.find()) {
                    rows.add(new Row(keys(row.group(1)), Long.parseLong(row.group(2))));
                }
            }
        }
        return rows;
    }

    /** Events that found no free row, of all triggers of an event. */
    static long dropped(String text) {
        return DROPPED.matcher(text)
                .results()
                .mapToLong(found -> Long.parseLong(found.group(1)))
                .sum();
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
