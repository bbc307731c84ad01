/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.host.HostInterrupts;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A file that differs between two captures. Counts of interrupts are left out, because they always change.
 *
 * @param path where it is on the host
 * @param gone the lines that only the first capture has
 * @param added the lines that only the second has
 * @param before whether the first capture has the file
 * @param after whether the second has it
 */
public record CaptureDiff(String path, List<String> gone, List<String> added, boolean before, boolean after) {
    /** The files that differ, by their paths. */
    public static List<CaptureDiff> of(Capture first, Capture second) {
        SortedMap<String, List<String>> old = lines(first);
        SortedMap<String, List<String>> now = lines(second);
        SortedSet<String> paths = new TreeSet<>(old.keySet());
        paths.addAll(now.keySet());
        return paths.stream()
                .filter(path -> !old.getOrDefault(path, NONE).equals(now.getOrDefault(path, NONE)))
                .map(path -> new CaptureDiff(
                        "/" + path,
                        without(old.getOrDefault(path, List.of()), now.getOrDefault(path, List.of())),
                        without(now.getOrDefault(path, List.of()), old.getOrDefault(path, List.of())),
                        old.containsKey(path),
                        now.containsKey(path)))
                .toList();
    }

    /** No file has this line. */
    private static final List<String> NONE = List.of("\n");

    private static List<String> without(List<String> lines, List<String> others) {
        Set<String> known = new HashSet<>(others);
        return lines.stream().filter(line -> !known.contains(line)).toList();
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
            return new HostInterrupts(text)
                    .armed().stream()
                            .map(one -> one.irq() + ": " + one.kind() + " " + one.vector() + " of " + one.address()
                                    + ", " + one.chip())
                            .toList();
        }
        return text.replace('\0', ' ').lines().toList();
    }
}
