/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.host.HostInterrupts;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A file that differs between two captures. Counts of interrupts are left out, because they always change, and
 * names and addresses, if one of the captures has none.
 *
 * @param path where the file is on the host
 * @param gone the lines that only the first capture has
 * @param added the lines that only the second has
 * @param before whether the first capture has the file
 * @param after whether the second has it
 */
public record CaptureDiff(String path, List<String> gone, List<String> added, boolean before, boolean after) {
    /** Files that change while a host runs, without a change of settings: of threads, counters, this process. */
    private static final Pattern VOLATILE = Pattern.compile(
            "/proc/\\d+/(fd|fdinfo|task|stat|status|schedstat).*|/proc/(self/.*|uptime)|/proc/irq/\\d+/spurious"
                    + "|/sys/kernel/debug/(kvm|irq)/.*");

    /** Whether such a file changes by itself. */
    public boolean isVolatile() {
        return VOLATILE.matcher(path).matches();
    }

    /** The files that differ, by their paths. */
    public static List<CaptureDiff> of(Capture first, Capture second) {
        SortedMap<String, List<String>> old = lines(second.redacted() ? first.redact() : first);
        SortedMap<String, List<String>> now = lines(first.redacted() ? second.redact() : second);
        SortedSet<String> paths = new TreeSet<>(old.keySet());
        paths.addAll(now.keySet());
        return paths.stream()
                .filter(path -> !old.getOrDefault(path, NONE).equals(now.getOrDefault(path, NONE)))
                .map(path -> of("/" + path, old.get(path), now.get(path)))
                .toList();
    }

    private static CaptureDiff of(String path, @Nullable List<String> old, @Nullable List<String> now) {
        List<String> before = old == null ? List.of() : old;
        List<String> after = now == null ? List.of() : now;
        List<String> gone = without(before, after);
        List<String> added = without(after, before);
        boolean moved = old != null && now != null && gone.isEmpty() && added.isEmpty();
        return new CaptureDiff(
                path, gone, moved ? List.of("the same lines in another order") : added, old != null, now != null);
    }

    /** No file has this line. */
    private static final List<String> NONE = List.of("\n");

    private static List<String> without(List<String> lines, List<String> others) {
        Map<String, Integer> left = new HashMap<>();
        others.forEach(line -> left.merge(line, 1, Integer::sum));
        return lines.stream()
                .filter(line -> left.merge(line, -1, Integer::sum) < 0)
                .toList();
    }

    private static SortedMap<String, List<String>> lines(Capture capture) {
        SortedMap<String, List<String>> lines = new TreeMap<>();
        capture.files().forEach((path, content) -> lines.put(path, lines(path, content)));
        capture.links().forEach((path, target) -> lines.put(path, List.of("-> " + target)));
        capture.owners().forEach((path, owner) -> lines.put(path, List.of("owner " + Capture.text(owner))));
        capture.denied().forEach(path -> lines.put(path, List.of("not readable")));
        return lines;
    }

    private static List<String> lines(String path, byte[] content) {
        if (path.endsWith("/config")) {
            return registers(content);
        }
        String text = new String(content, StandardCharsets.UTF_8);
        if (path.equals("proc/interrupts")) {
            HostInterrupts all = new HostInterrupts(text);
            return Stream.concat(
                            all.chips().stream().map(chip -> "chip " + chip),
                            all.armed().stream()
                                    .map(one -> one.irq() + ": " + one.kind() + " " + one.vector() + " of "
                                            + one.address() + ", " + one.chip()))
                    .toList();
        }
        return text.replace('\0', ' ').lines().toList();
    }

    /** A line for each 32 bits, as {@code lspci -xxx} groups them. */
    private static List<String> registers(byte[] content) {
        List<String> lines = new ArrayList<>();
        for (int at = 0; at < content.length; at += Integer.BYTES) {
            lines.add(String.format("bytes from 0x%02x: ", at)
                    + HexFormat.ofDelimiter(" ").formatHex(content, at, Math.min(content.length, at + Integer.BYTES)));
        }
        return lines;
    }
}
