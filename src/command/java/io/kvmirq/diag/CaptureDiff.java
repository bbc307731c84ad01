/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.host.HostFacts;
import io.kvmirq.host.HostInterrupts;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A file or a verdict that differs between two captures. Counts of interrupts are left out, because they always change, and
 * names and addresses, if one of the captures has none.
 *
 * @param path where the file is on the host; of a verdict, the check
 * @param gone the lines that only the first capture has
 * @param added the lines that only the second has
 * @param before whether the first capture has the file
 * @param after whether the second has it
 */
public record CaptureDiff(String path, List<String> gone, List<String> added, boolean before, boolean after) {
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

    /** The findings of doctor whose verdict or reason differs, and the armed vectors that differ or are posted otherwise. */
    public static List<CaptureDiff> ofFindings(Capture first, Capture second) {
        HostFacts old = new HostFacts((second.redacted() ? first.redact() : first).tree());
        HostFacts now = new HostFacts((first.redacted() ? second.redact() : second).tree());
        EnumSet<Check> checks = EnumSet.complementOf(EnumSet.of(Check.BACKENDS));
        List<Finding> before = Doctor.examine(old, checks);
        List<Finding> after = Doctor.examine(now, checks);
        List<CaptureDiff> changes = new ArrayList<>();
        for (int i = 0; i < before.size(); i++) {
            Finding one = before.get(i);
            Finding other = after.get(i);
            if (one.status() != other.status() || !one.reason().equals(other.reason())) {
                changes.add(of("check " + one.check().id(), List.of(text(one)), List.of(text(other))));
            }
        }
        List<String> gone = without(vectors(old), vectors(now));
        List<String> added = without(vectors(now), vectors(old));
        if (!gone.isEmpty() || !added.isEmpty()) {
            changes.add(new CaptureDiff("armed vectors", gone, added, true, true));
        }
        return changes;
    }

    private static String text(Finding finding) {
        return finding.status() + ": " + finding.text();
    }

    private static List<String> vectors(HostFacts host) {
        return Listing.of(host, device -> true).rows().stream()
                .map(row -> row.device() + " " + row.interrupt()
                        + row.guest().map(guest -> " of " + guest).orElse("") + ": "
                        + row.posted().map(yes -> yes ? "posted" : "not posted").orElse("not known whether posted")
                        + row.why().map(why -> ", " + why).orElse(""))
                .sorted()
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
            return List.of(HexFormat.ofDelimiter(" ").formatHex(content));
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
}
