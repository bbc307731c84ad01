/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * Sizes of what killed commands left, taken twice to see what grows: files by their names, files that only a process has
 * open (a removed file), and the number of each process's descriptors.
 */
final class CrashWatch {
    private CrashWatch() {}

    static Map<String, Long> sizes(Iterable<Path> files, Iterable<String> processes) throws IOException {
        Map<String, Long> sizes = new TreeMap<>();
        for (Path file : files) {
            put(sizes, file.toString(), file);
        }
        for (String pid : processes) {
            try (Stream<Path> descriptors = Files.list(Path.of("/proc/" + pid + "/fd"))) {
                long count = 0;
                for (Path descriptor : (Iterable<Path>) descriptors::iterator) {
                    count++;
                    String file = Files.readSymbolicLink(descriptor).toString();
                    if (file.endsWith(" (deleted)")) {
                        put(sizes, "process " + pid + ": " + file, descriptor);
                    }
                }
                sizes.put("descriptors of process " + pid, count);
            } catch (IOException e) {
                // the process has ended
            }
        }
        return sizes;
    }

    private static void put(Map<String, Long> sizes, String name, Path file) {
        try {
            sizes.put(name, Files.size(file));
        } catch (IOException e) {
            // removed since it was listed
        }
    }

    /** Descriptions of what is larger in the second, or new there. */
    static Set<String> grown(Map<String, Long> before, Map<String, Long> after) {
        Set<String> grown = new TreeSet<>();
        after.forEach((name, size) -> {
            long old = before.getOrDefault(name, 0L);
            if (size > old) {
                grown.add(name + " from " + old + " to " + size);
            }
        });
        return grown;
    }
}
