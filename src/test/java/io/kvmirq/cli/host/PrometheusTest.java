/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * The rules and the dashboard in {@code src/packaging/prometheus}. promtool is that of PATH, or of {@code
 * scripts/debian-package bookworm prometheus target/prometheus}.
 */
class PrometheusTest {
    private static final Path FILES = Machine.root().resolve("src/packaging/prometheus");
    private static final Path NUMBERS = Machine.root().resolve("src/test/resources/io/kvmirq/cli/host");
    private static final Path METRICS = Machine.root().resolve("src/command/java/io/kvmirq/diag/screens/Metrics.java");
    private static final Pattern METRIC = Pattern.compile("(?<!:)\\bkvmirq_[a-z_]+");

    private static String promtool() {
        Path unpacked = Machine.root().resolve("target/prometheus/usr/bin");
        Optional<Path> program = Stream.concat(
                        Stream.of(System.getenv("PATH").split(":")).map(Path::of), Stream.of(unpacked))
                .map(directory -> directory.resolve("promtool"))
                .filter(Files::isExecutable)
                .findFirst();
        assumeTrue(
                program.isPresent(),
                "no promtool: scripts/debian-package bookworm prometheus target/prometheus gets it");
        return program.orElseThrow().toString();
    }

    private static Set<String> metrics(String text) {
        return METRIC.matcher(text).results().map(MatchResult::group).collect(Collectors.toCollection(TreeSet::new));
    }

    @Test
    void rulesAndDashboardNameMetricsThatAreWritten() throws IOException {
        Set<String> written = new TreeSet<>();
        words(METRICS, "write\\(\\s*\"([a-z_]+)\"", " ").forEach(name -> written.add("kvmirq_" + name));
        assertThat(written).hasSizeGreaterThan(10);
        for (String file : List.of("kvmirq-alerts.yml", "kvmirq-recording.yml", "kvmirq-dashboard.json")) {
            assertThat(written).as(file).containsAll(metrics(Files.readString(FILES.resolve(file))));
        }
    }

    /** A label that no number has would leave a panel empty. */
    @Test
    void dashboardNamesLabelsThatAreWritten() throws IOException {
        Set<String> written = words(METRICS, "new Samples\\(\"([^)]+)\"\\)", "\", \"");
        written.addAll(List.of("cluster", "instance")); // Prometheus adds these
        Path dashboard = FILES.resolve("kvmirq-dashboard.json");
        Set<String> asked = words(dashboard, "(\\w+)=~?\\\\\"", ", ");
        asked.addAll(words(dashboard, "by \\(([^)]+)\\)", ", "));
        assertThat(asked).hasSizeGreaterThan(5);
        assertThat(written).containsAll(asked);
    }

    /** The words of the first group of a pattern. */
    private static Set<String> words(Path file, String pattern, String between) throws IOException {
        return Pattern.compile(pattern)
                .matcher(Files.readString(file))
                .results()
                .flatMap(result -> Stream.of(result.group(1).split(between)))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** Grafana is in no Debian: what it needs of each panel is checked here. */
    @Test
    void dashboardHasAPlaceAndAQueryForEachPanel() throws IOException {
        List<String> paths = new ArrayList<>();
        try (JsonParser json = new JsonFactory()
                .createParser(FILES.resolve("kvmirq-dashboard.json").toFile())) {
            for (JsonToken token = json.nextToken(); token != null; token = json.nextToken()) {
                if (token.isScalarValue()) {
                    paths.add(json.getParsingContext().pathAsPointer(false).toString());
                }
            }
        }
        assertThat(paths).contains("/title", "/uid", "/schemaVersion", "/templating/list/0/name");
        long panels =
                paths.stream().filter(path -> path.matches("/panels/\\d+/type")).count();
        assertThat(panels).isGreaterThan(8);
        for (String member : List.of("id", "title", "gridPos/w", "datasource/uid", "targets/0/expr")) {
            assertThat(paths)
                    .filteredOn(path -> path.matches("/panels/\\d+/" + member))
                    .hasSize((int) panels);
        }
    }

    @Test
    void promtoolAcceptsTheNumbers() throws Exception {
        try (Stream<Path> all = Files.list(NUMBERS)) {
            List<Path> files =
                    all.filter(path -> path.toString().endsWith(".prom")).toList();
            assertThat(files).hasSizeGreaterThan(3);
            for (Path file : files) {
                String shell = "exec \"$0\" check metrics < \"$1\"";
                assertThat(Program.output(List.of("sh", "-c", shell, promtool(), file.toString())))
                        .as(file.toString())
                        .isEmpty();
            }
        }
    }

    @Test
    void promtoolAcceptsTheRulesAndTheirTests() throws Exception {
        String alerts = FILES.resolve("kvmirq-alerts.yml").toString();
        String recording = FILES.resolve("kvmirq-recording.yml").toString();
        Program.output(List.of(promtool(), "check", "rules", alerts, recording));
        Program.output(List.of(
                promtool(), "test", "rules", FILES.resolve("kvmirq-tests.yml").toString()));
    }
}
