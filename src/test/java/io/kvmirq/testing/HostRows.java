/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Rows of /proc/interrupts of this machine. */
public final class HostRows {
    private HostRows() {}

    /** The interrupts so far of all processors, in rows with this text. */
    public static long counted(String text) {
        try {
            return Files.readAllLines(Path.of("/proc/interrupts")).stream()
                    .filter(row -> row.contains(text))
                    .mapToLong(row -> Arrays.stream(
                                    row.replaceFirst("^.*?:", "").strip().split("\\s+", -1))
                            .takeWhile(word -> word.matches("\\d+"))
                            .mapToLong(Long::parseLong)
                            .sum())
                    .sum();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
