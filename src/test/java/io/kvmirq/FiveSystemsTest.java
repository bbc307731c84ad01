/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Page;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Each row of five-systems.md: its classes, tests and commands exist, and a test runs where the row says. */
class FiveSystemsTest {
    private static final Path TESTS = Machine.root().resolve("src/test/java");
    private static final Pattern SPAN = Pattern.compile("`([^`]+)`");
    private static final Pattern TEST = Pattern.compile("([A-Z]\\w+)(?:\\.([a-z]\\w+))?");
    /** In the order of the threads. */
    private static final List<String> SYSTEMS =
            List.of("AMD AVIC", "ARM VGIC", "VFIO INTx", "KVM-VFIO", "VT-d posted interrupts");

    private static final Map<String, Path> CLASSES = new TreeMap<>();
    private static final Map<String, Path> TEST_CLASSES = new TreeMap<>();

    /** A row of a system's table. */
    private record Row(String system, String point, List<String> classes, List<String> shownBy, Set<String> where) {
        /** The tests that it names, by class. */
        List<Matcher> tests() {
            return shownBy.stream().map(TEST::matcher).filter(Matcher::matches).toList();
        }

        @Override
        public String toString() {
            return system + ": " + point;
        }
    }

    @BeforeAll
    static void findSources() throws IOException {
        Artifacts.allSources("").forEach(file -> CLASSES.put(name(file), file));
        try (Stream<Path> files = Files.walk(TESTS)) {
            files.filter(file -> file.toString().endsWith(".java")).forEach(file -> TEST_CLASSES.put(name(file), file));
        }
    }

    private static String name(Path file) {
        return file.getFileName().toString().replaceFirst("\\.java$", "");
    }

    private static List<Row> rows() throws IOException {
        List<Row> rows = new ArrayList<>();
        String system = "";
        for (String line : Page.of("src/docs/five-systems.md").text()) {
            if (line.startsWith("## ")) {
                system = SYSTEMS.contains(line.substring(3)) ? line.substring(3) : "";
            } else if (!system.isEmpty() && line.startsWith("| ") && !line.startsWith("| point |")) {
                String[] cells = line.substring(2).split(" \\|(?: |$)");
                assertThat(cells).as(line).hasSize(4);
                rows.add(new Row(
                        system,
                        cells[0],
                        spans(cells[1]),
                        spans(cells[2]),
                        new TreeSet<>(Arrays.asList(cells[3].split(", ")))));
            }
        }
        return rows;
    }

    private static List<String> spans(String cell) {
        assertThat(SPAN.matcher(cell).replaceAll("")).as(cell).matches("(, )*");
        return SPAN.matcher(cell).results().map(found -> found.group(1)).toList();
    }

    @Test
    void eachSystemHasItsRows() throws IOException {
        assertThat(rows().stream().map(Row::system).distinct()).containsExactlyElementsOf(SYSTEMS);
        for (String system : SYSTEMS) {
            assertThat(rows().stream().filter(row -> row.system().equals(system)))
                    .as(system)
                    .hasSizeGreaterThan(5);
        }
        assertThat(rows()).allSatisfy(row -> {
            assertThat(row.classes()).isNotEmpty();
            assertThat(row.tests()).isNotEmpty();
        });
    }

    @ParameterizedTest
    @MethodSource("rows")
    void classesAreInAnArtifact(Row row) {
        assertThat(CLASSES.keySet()).containsAll(row.classes());
    }

    /** A name is a class, or a class and its test method; else a command. */
    @ParameterizedTest
    @MethodSource("rows")
    void testsAndCommandsExist(Row row) throws IOException {
        for (String shown : row.shownBy()) {
            Matcher test = TEST.matcher(shown);
            if (test.matches()) {
                String source = source(test.group(1));
                if (test.group(2) != null) {
                    assertThat(source)
                            .as(shown)
                            .containsPattern("@(Test|ParameterizedTest)\\b[^;{}]*?(\\{[^;{}]*}[^;{}]*?)?\\bvoid "
                                    + test.group(2) + "\\(");
                }
            } else if (shown.startsWith("make ")) {
                String[] words = shown.split(" ", -1);
                assertThat(Files.readString(Machine.root().resolve("Makefile")))
                        .containsPattern("(?m)^" + words[1] + ":");
                if (words.length > 2) {
                    assertThat(words[2]).startsWith("T=");
                    assertThat(source("ToldRaces")).contains('"' + words[2].substring(2) + '"');
                }
            } else {
                assertThat(shown).startsWith("kvmirq ");
                Cli.run(shown.substring("kvmirq ".length()), "--help").exited(0);
            }
        }
    }

    private static String source(String test) throws IOException {
        assertThat(TEST_CLASSES).containsKey(test);
        return Files.readString(TEST_CLASSES.get(test));
    }

    /** A suite of the contract runs on a real kernel, that of the lab where it needs VFIO, and most on the fake too. */
    @ParameterizedTest
    @MethodSource("rows")
    void namedTestsRunWhereTheRowSays(Row row) throws IOException {
        Set<String> places = new TreeSet<>();
        for (Matcher test : row.tests()) {
            places.addAll(places(test.group(1), test.group(2)));
        }
        assertThat(places).containsAll(row.where());
        assertThat(row.where()).isNotEmpty();
    }

    /**
     * Tests of forwarding have their fake kernel in a class of their own. A method of a suite may ask a fake kernel only.
     */
    private static Set<String> places(String test, @Nullable String method) throws IOException {
        String source = source(test);
        String file = TESTS.relativize(TEST_CLASSES.get(test)).toString();
        if (!file.startsWith("io/kvmirq/contract/")) {
            return file.matches("io/kvmirq/(arch|mirror)/.*")
                    ? Set.of("model")
                    : source.contains("import io.kvmirq.fake.") || file.matches("io/kvmirq/(fake|forward)/.*")
                            ? Set.of("fake")
                            : Set.of();
        }
        Set<String> places = new TreeSet<>();
        if (!source.contains("@Tag(RealKvm.TAG)")) {
            places.add("fake");
        }
        if (method == null || !body(source, method).contains("fakeAlone(")) {
            places.add("lab");
            if (source.contains("extends KernelSuite")) {
                places.add("real");
            }
        }
        return places;
    }

    private static String body(String source, String method) {
        int begin = source.indexOf("void " + method + "(");
        return source.substring(begin, source.indexOf("\n    }\n", begin));
    }
}
