/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Lines of each part of the tree, words of the pages and types of each package: none is above its budget. */
class BudgetTest {
    private static final Path BUDGETS = Machine.root().resolve("src/test/resources/budget.txt");
    private static final int NEW = 25; // types of a new package
    private final Map<String, Integer> sizes = new TreeMap<>();

    private void count(String part, String separator, String folder, String pattern) throws IOException {
        try (Stream<Path> files = Files.walk(Machine.root().resolve(folder))) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                String path = Machine.root().relativize(file).toString();
                if (path.matches(pattern)) {
                    sizes.merge(part, Files.readString(file).split(separator).length, Integer::sum);
                }
                if (path.matches("src/(?!test/)\\w+/java(22)?/.*/[A-Z]\\w+\\.java")) {
                    sizes.merge("types of " + path.replaceAll("^.*?/java(22)?/|/\\w+\\.java$", ""), 1, Integer::sum);
                }
            }
        }
    }

    /** With {@code KVMIRQ_RECORD=1} budgets fall to the sizes. To raise one, edit the file. */
    @Test
    void everyPartIsWithinItsBudget() throws IOException {
        for (String artifact : List.of("src/kvmirq", "src/vmm", "src/fake", "src/testkit", "src/command")) {
            count("lines of " + artifact, "\n", artifact, ".*\\.java");
        }
        count("lines of native", "\n", "native", "native/\\w+/\\w+\\.[ch]");
        count("lines of tests", "\n", "src/test", ".*\\.java");
        count("lines of scripts and build code", "\n", "scripts", "scripts/(?![.#])[^/]*(?<!~)");
        count("lines of scripts and build code", "\n", "src/build", ".*");
        for (String pages : List.of("src/docs", "README.md", "CONTRIBUTING.md")) {
            count("words of pages", "\\s+", pages, ".*\\.md");
        }
        Map<String, Integer> budgets = new TreeMap<>();
        Files.readAllLines(BUDGETS)
                .forEach(line -> budgets.put(line.split(": ")[0], Integer.valueOf(line.split(": ")[1])));
        sizes.forEach((part, size) -> assertThat(size).as(part).isLessThanOrEqualTo(budgets.getOrDefault(part, NEW)));
        if (Recorded.writes()) {
            budgets.replaceAll((part, budget) -> Math.min(budget, sizes.getOrDefault(part, 0)));
            String lines = budgets.toString().replaceAll("[{}]", "").replace("=", ": ");
            Files.write(BUDGETS, List.of(lines.split(", ")));
        }
    }
}
