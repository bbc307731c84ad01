/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Limits by the clock in tests: those that the package's documentation names, and no others. */
class LimitsTest {
    private static final Path TESTS = Machine.root().resolve("src/test/java");

    private static final Pattern LIMIT = Pattern.compile("@Timeout\\b|\\bassertTimeout|\\.join\\((\\d|[A-Z][A-Z_]+\\))"
            + "|\\.(waitFor|awaitTermination|tryAcquire|tryLock|orTimeout|get|await|poll|join|offer|exchange)"
            + "\\([^;]*?\\b(TimeUnit\\.(?!HOURS)|SECONDS\\b|MINUTES\\b|MILLISECONDS\\b|Duration\\.of(Millis|Seconds|Minutes)\\()"
            + "|(?:nanoTime|currentTimeMillis)\\(\\)[^;{]*(<|isLessThan)");

    private static final Pattern NAMED = Pattern.compile("<li>(\\w+) (\\d+):");

    @Test
    void everyLimitIsNamed() throws IOException {
        Map<String, Integer> found = new TreeMap<>();
        try (Stream<Path> files = Files.walk(TESTS)) {
            for (Path file : files.filter(LimitsTest::isOfTests).toList()) {
                int limits =
                        (int) LIMIT.matcher(Files.readString(file)).results().count();
                if (limits > 0) {
                    found.put(file.getFileName().toString().replace(".java", ""), limits);
                }
            }
        }
        Map<String, Integer> named = new TreeMap<>();
        NAMED.matcher(Files.readString(TESTS.resolve("io/kvmirq/testing/package-info.java")))
                .results()
                .forEach(row -> named.put(row.group(1), Integer.parseInt(row.group(2))));
        assertThat(found).isEqualTo(named);
    }

    /** A benchmark measures time. */
    private static boolean isOfTests(Path file) {
        return file.toString().endsWith(".java")
                && !file.toString().endsWith("Bench.java")
                && !file.endsWith("LimitsTest.java");
    }
}
