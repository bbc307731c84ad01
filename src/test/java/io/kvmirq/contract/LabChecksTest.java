/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;

/** The table of the checks that a lab must make names tests that exist. */
class LabChecksTest {
    private static final String TABLE = "lab-checks.tsv";

    /** A check and the tests that make it, as {@code Suite.method}. */
    private record Check(String name, List<String> tests) {
        static Check parse(String line) {
            List<String> cells = Arrays.asList(line.split("\t", -1));
            return new Check(cells.get(0), cells.subList(1, cells.size()));
        }
    }

    private static List<Check> checks() throws IOException {
        try (InputStream table = LabChecksTest.class.getResourceAsStream(TABLE)) {
            return new String(table.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .map(Check::parse)
                    .toList();
        }
    }

    private static boolean isTest(String name) {
        String[] parts = name.split("\\.", -1);
        try {
            return Arrays.stream(Class.forName(LabChecksTest.class.getPackageName() + "." + parts[0])
                            .getDeclaredMethods())
                    .filter(method -> method.getName().equals(parts[1]))
                    .anyMatch(LabChecksTest::runs);
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    private static boolean runs(Method method) {
        return method.isAnnotationPresent(Test.class) || method.isAnnotationPresent(ParameterizedTest.class);
    }

    @Test
    void everyCheckOfTheLabHasATest() throws IOException {
        assertThat(checks()).hasSizeGreaterThan(60).allSatisfy(check -> {
            assertThat(check.tests()).as(check.name()).isNotEmpty();
            assertThat(check.tests()).as(check.name()).allMatch(LabChecksTest::isTest);
        });
    }

    @Test
    void everyCheckStandsOnce() throws IOException {
        List<String> names = new ArrayList<>();
        checks().forEach(check -> names.add(check.name()));
        assertThat(names).doesNotHaveDuplicates();
    }
}
