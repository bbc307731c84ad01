/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** Compares what the code says of itself with a file of the sources, and writes that file on demand. */
public final class Recorded {
    private static final String WRITE = "KVMIRQ_RECORD";

    private Recorded() {}

    /**
     * Fails if the file lacks a line of the code or has one that the code lacks. With {@code KVMIRQ_RECORD=1} in the
     * environment it writes the file instead.
     *
     * @param file relative to the checkout
     * @param lost what the loss of a line means, as a clause
     * @param test the class of the test, for the command in the message
     */
    public static void compare(String file, List<String> lines, String lost, Class<?> test) throws IOException {
        Path path = Machine.root().resolve(file);
        if (writes()) {
            Files.write(path, lines);
            return;
        }
        List<String> recorded = Files.exists(path) ? Files.readAllLines(path) : List.of();
        String command = WRITE + "=1 make try T=" + test.getSimpleName() + " records it";
        String message = differences(recorded, lines, file + " has a line that the code lacks, " + lost, command)
                + differences(lines, recorded, file + " lacks a line of the code", command);
        if (!message.isEmpty()) {
            throw new AssertionError(message.strip());
        }
        if (!recorded.equals(lines)) {
            throw new AssertionError(file + " has the lines of the code in another order: " + command);
        }
    }

    /** Whether files of the sources are to be written. */
    public static boolean writes() {
        return "1".equals(System.getenv(WRITE));
    }

    /**
     * The text of a resource beside a test. With {@code KVMIRQ_RECORD=1} in the environment it is written first.
     *
     * @param now what the code prints
     */
    public static String text(Class<?> test, String name, String now) throws IOException {
        Path file = Machine.root()
                .resolve("src/test/resources")
                .resolve(test.getPackageName().replace('.', '/'))
                .resolve(name);
        if (writes()) {
            Files.writeString(file, now);
        }
        return Files.readString(file);
    }

    private static String differences(List<String> found, List<String> others, String flaw, String command) {
        Set<String> only = new LinkedHashSet<>(found);
        only.removeAll(new LinkedHashSet<>(others));
        return only.isEmpty()
                ? ""
                : flaw + ", and if that is intended, " + command + ":\n  " + String.join("\n  ", only) + "\n";
    }
}
