/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
    private static final Row MET = row("jni / C: write", Goal.atMost(1.05), steady(103), steady(100));
    private static final Row MISSED = row("jni / C: <read> & \"more\"", Goal.atMost(1.05), steady(115.5), steady(100));
    private static final Row RESTLESS =
            row("jni / C: line", Goal.atMost(1.05), new double[] {100, 200, 200}, new double[] {100, 200, 200});
    private static final Row WITHOUT_GOAL = row("records / C", Goal.none(), steady(500), steady(100));

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    private static double[] steady(double value) {
        double[] values = new double[3];
        Arrays.fill(values, value);
        return values;
    }

    private static Row row(String operation, Goal goal, double[] ours, double[] theirs) {
        return new Row("calls", operation, "JDK 17", "ns", goal, new Rounds(ours, theirs));
    }

    private static Report report(Map<String, Double> before, Row... rows) {
        return new Report(
                Map.of("kernel", "Linux <6>"),
                List.of(rows),
                List.of(),
                before,
                Map.of("calls: jni / C: <read>", "The kernel. Tried: all.", "calls: jni", "Nobody knows."));
    }

    @Test
    void jsonHasTheSchema() {
        assertThat(report(Map.of(), MET, MISSED, WITHOUT_GOAL).toJson().lines().map(String::strip))
                .containsExactly(
                        "{",
                        "\"schema\" : \"kvmirq.bench/1\",",
                        "\"environment\" : {",
                        "\"kernel\" : \"Linux <6>\"",
                        "},",
                        "\"failed\" : [ ],",
                        "\"notCalm\" : [ ],",
                        "\"rows\" : [ {",
                        "\"name\" : \"calls: jni / C: write, JDK 17\",",
                        "\"ratio\" : 1.03,",
                        "\"goal\" : 1.05,",
                        "\"met\" : true,",
                        "\"spread\" : 1.0",
                        "}, {",
                        "\"name\" : \"calls: jni / C: <read> & \\\"more\\\", JDK 17\",",
                        "\"ratio\" : 1.155,",
                        "\"goal\" : 1.05,",
                        "\"met\" : false,",
                        "\"spread\" : 1.0",
                        "}, {",
                        "\"name\" : \"calls: records / C, JDK 17\",",
                        "\"ratio\" : 5.0,",
                        "\"goal\" : null,",
                        "\"met\" : null,",
                        "\"spread\" : 1.0",
                        "} ]",
                        "}");
    }

    @Test
    void missedGoalIsSaidWithItsReason() {
        String page = new ReportText(report(Map.of(), MET, MISSED)).markdown();
        assertThat(page)
                .contains("1 of 2 goals met.")
                .contains("## Missed goals\n\n- The kernel. Tried: all.\n"
                        + "  - calls: jni / C: <read> & \"more\", JDK 17: missed by 10.0 % (1.16, goal ≤ 1.05)\n")
                .doesNotContain("jni / C: write, JDK 17: missed");
    }

    @Test
    void narrowMissIsSeen() {
        Row faster = row("edge / C", Goal.faster(5), steady(100), steady(499.98));
        Row added = row("recorded", Goal.adds(300), steady(400.01), steady(100));
        ReportText text = new ReportText(report(Map.of(), faster, added));
        assertThat(text.missed(faster))
                .isEqualTo("calls: edge / C, JDK 17: missed by 0.004 % (4.9998× faster, goal ≥ 5.00× faster)");
        assertThat(text.missed(added))
                .isEqualTo("calls: recorded, JDK 17: missed by 0.003 % (+300.01 ns, goal ≤ +300 ns)");
    }

    /** A clock may see no time in a short round. */
    @Test
    void roundsWithoutTimeGiveAReportWithoutInfinities() throws IOException {
        Row[] rows = {
            row("ours", Goal.faster(5), steady(0), steady(100)),
            row("theirs", Goal.atMost(1.1), steady(100), new double[] {0, 0, 1}),
            row("both", Goal.none(), steady(0), new double[] {0, 0, 1}),
            row("no room", Goal.adds(0), steady(100), steady(100)),
        };
        Report report = report(Map.of("calls: theirs, JDK 17", 1.0), rows);
        String page = new ReportText(report).markdown();
        assertThat(List.of(page, report.toJson()))
                .allSatisfy(text -> assertThat(text).doesNotContain("Infinity", "NaN"));
        assertThat(page).contains("not measurable");
        Path former = Files.writeString(directory.resolve("report.json"), report.toJson());
        assertThat(Report.ratios(former)).containsOnlyKeys("calls: ours, JDK 17");
    }

    @Test
    void missedGoalWithoutAReasonSaysSo() {
        Row other = row("fake / real", Goal.atMost(0.25), steady(60), steady(100));
        ReportText text = new ReportText(report(Map.of(), other));
        assertThat(text.missed()).containsExactly(Map.entry("Not explained yet.", List.of(other)));
        assertThat(text.missed(other)).isEqualTo("calls: fake / real, JDK 17: missed by 140.0 % (0.60, goal ≤ 0.25)");
    }

    @Test
    void reasonOfSeveralRowsIsSaidOnce() {
        Row other = row(
                "jni / C: <read> of 8", Goal.atMost(0.5), new double[] {100, 200, 200}, new double[] {100, 200, 200});
        Report report = new Report(
                Map.of(), List.of(MISSED, other), List.of(), Map.of(), Map.of("calls: jni", "A step, see `-Xint`."));
        assertThat(new ReportText(report).markdown())
                .containsOnlyOnce("A step")
                .contains(
                        "- A step, see `-Xint`.\n  - calls: jni / C: <read> &",
                        "\n  - calls: jni / C: <read> of 8, JDK 17: missed by 100.0 % (1.00, goal ≤ 0.50), not calm\n");
    }

    @Test
    void rowThatWasNotCalmIsMarked() {
        Report report = report(Map.of(), MET, RESTLESS);
        ReportText text = new ReportText(report);
        assertThat(text.verdict()).isEqualTo("2 of 2 goals met, 1 rows not calm");
        assertThat(text.cells(RESTLESS)).contains("met, not calm");
        assertThat(text.cells(MET)).contains("met");
        assertThat(report.toJson()).contains("\"notCalm\" : [ \"calls: jni / C: line, JDK 17\" ]");
    }

    @Test
    void loadOfOtherProgramsIsSaid() {
        for (String load : List.of("0.9 3.0 4.0", "2.5 1.0 1.0")) {
            Map<String, String> environment =
                    Map.of("processors", "2", "load at begin", "0.1 0.1 0.1", "load at end", load);
            Report report = new Report(environment, List.of(MET), List.of(), Map.of(), Map.of());
            assertThat(new ReportText(report).verdict())
                    .isEqualTo("1 of 1 goals met"
                            + (load.startsWith("2") ? ", other programs ran on this machine (see the load)" : ""));
        }
    }

    @Test
    void failedPartIsNamed() {
        Report report = new Report(Map.of(), List.of(MET), List.of("vcpu jni, JDK 17"), Map.of(), Map.of());
        assertThat(new ReportText(report).verdict()).isEqualTo("1 of 1 goals met, failed: vcpu jni, JDK 17");
    }

    @Test
    void interruptedRunIsMarked() {
        Map<String, String> environment = Map.of("interrupted", "by SIGINT during vcpu jni, JDK 17");
        Report report = new Report(environment, List.of(MET), List.of(), Map.of(), Map.of());
        String verdict =
                "1 of 1 goals met, interrupted by SIGINT during vcpu jni, JDK 17: what follows was not measured";
        assertThat(new ReportText(report).markdown()).startsWith("# Benchmarks\n\n" + verdict + ".\n");
        assertThat(report.toJson()).contains("\"interrupted\" : \"by SIGINT during vcpu jni, JDK 17\"");
    }

    @Test
    void rowThatAKilledBenchmarkBeganIsNone() throws IOException {
        Path file = directory.resolve("rows.jsonl");
        String cut = MISSED.toJson();
        Files.writeString(file, MET.toJson() + "\n" + cut.substring(0, cut.length() / 2));
        assertThat(Report.rows(file)).extracting(Row::name).containsExactly(MET.name());
        Files.writeString(file, cut.substring(0, 10));
        assertThat(Report.rows(file)).isEmpty();
    }

    @Test
    void namesAreEscaped() {
        Row table = row("a | b", Goal.none(), steady(1), steady(1));
        assertThat(new ReportText(report(Map.of(), table)).markdown()).contains("| a \\| b, JDK 17 |");
    }

    @Test
    void formerReportIsShownBeside() throws IOException {
        Path former = directory.resolve("report.json");
        Files.writeString(former, report(Map.of(), MISSED).toJson());
        Row now = row("jni / C: <read> & \"more\"", Goal.atMost(1.05), steady(104), steady(100));

        Report report = report(Report.ratios(former), now, MET);

        ReportText text = new ReportText(report);
        assertThat(text.cells(now)).endsWith("1.00", "1.16");
        assertThat(text.cells(MET)).endsWith("");
        assertThat(text.verdict()).isEqualTo("2 of 2 goals met");
    }

    @Test
    void formerReportOfOtherRowsIsSaid() {
        assertThat(new ReportText(report(Map.of("fake: a signal", 1.0), MET)).verdict())
                .isEqualTo("1 of 1 goals met, the former report has none of these rows");
    }

    @Test
    void fileThatIsNoReportIsRefused() throws IOException {
        Path file = Files.writeString(directory.resolve("other.json"), "{\"schema\":\"kvmirq.bench/2\"}");
        assertThatThrownBy(() -> Report.ratios(file))
                .hasMessage(file + " is no report: its schema is not kvmirq.bench/1");
        Files.writeString(file, "{\"schema\":\"kvmirq.bench/1\",\n\"rows\":[{\"name\"");
        assertThatThrownBy(() -> Report.ratios(file))
                .hasMessage(file + " cannot be read as a report: line 2 ends early or is not what make bench writes");
        Files.writeString(file, "{\"schema\":\"kvmirq.bench/1\",\"rows\":[{\"name\":\"x\",\"ratio\":\"much\"}]}");
        assertThatThrownBy(() -> Report.ratios(file)).hasMessageContaining("cannot be read as a report");
        Path none = directory.resolve("none");
        assertThatThrownBy(() -> Report.ratios(none)).hasMessageContaining("cannot be read: " + none);
    }

    @Test
    void rowsOfOneNameBecomeOne() throws IOException {
        Path file = directory.resolve("rows.jsonl");
        Files.writeString(file, MET.toJson() + "\n" + MISSED.toJson() + "\n" + MET.toJson() + "\n");
        assertThat(Report.rows(file)).extracting(Row::name).containsExactly(MET.name(), MISSED.name());
    }

    @Test
    void reasonsAreReadFromTheirTable() {
        assertThat(Main.reasons("""
                ## Rows

                | row | is |
                |---|---|
                | calls | a call |

                ## Missed goals

                | row | why | tried |
                |---|---|---|
                | calls: jna | JNA looks up the thread. | direct mapping |
                | calls: jni | a step | |
                | calls: ffm | | |

                ## Limits

                | row | why | tried |
                """))
                .containsExactly(
                        Map.entry("calls: jna", "JNA looks up the thread. Tried: direct mapping."),
                        Map.entry("calls: jni", "A step."));
        assertThat(Main.reasons("# Performance\n")).isEmpty();
    }
}
