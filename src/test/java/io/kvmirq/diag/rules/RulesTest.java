/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Rules that are rows. PlantedFaultsTest plants the flaws. */
class RulesTest {
    private static final int MOST_LINES = 4;
    private static final Evidence FILE = Evidence.observed("/file");

    private record One(Fact.Facts facts) implements Fact.Subject {
        One(String text) {
            this(new Fact.Facts(
                    new HostFacts(HostFiles.of(Map.of("a/1", text.getBytes(StandardCharsets.UTF_8)), Map.of()))));
        }

        @Override
        public String name(String word) {
            return word.equals("one") ? "1" : word;
        }
    }

    private static final Fact<One, String> SHOWN = Fact.text("a/{one}", Fact.form(text -> !text.equals("bad")));
    private static final Fact<One, String> ABSENT = Fact.text("a/{two}", Fact.form(text -> true));
    private static final Fact<One, String> OPTIONAL = Fact.text("a/{three}", one -> false, Fact.form(text -> true));
    private static final Rule<One> FIRST = Rule.doubt("first", SHOWN, one -> true, "first holds");
    private static final Rule<One> LAST =
            Rule.broken("last", SHOWN, one -> true, "%s holds").with(one -> "last");

    @SafeVarargs
    @SuppressWarnings("varargs")
    private static Link link(String text, Rule<One>... rules) {
        One one = new One(text);
        return new Flaws().apply(one, new Table<>(Hop.HOST_IRQ, rules)).link(Hop.HOST_IRQ, FILE, "27", "seen");
    }

    @Test
    void ruleThatFailsIsNamedAndTheOthersGoOn() {
        Rule<One> fails = Rule.doubt("fails", SHOWN, one -> one.name("x").charAt(5) == 'x', "");
        assertThat(link("text", fails).text())
                .startsWith("seen; not looked at: the rule fails, which failed: java.lang.StringIndexOutOf");
        assertThat(link("text", fails).state()).isEqualTo(Link.State.NOT_SHOWN);
        assertThat(link("text", fails, LAST).text()).isEqualTo("last holds");
    }

    @Test
    void ruleIsNotAskedWithoutAFactThatItNeeds() {
        assertThat(link("bad", FIRST).text()).isEqualTo("seen; not looked at: /a/1 has another form");
        assertThat(link("text", FIRST.and(ABSENT)).text()).isEqualTo("seen; not looked at: /a/two does not exist");
        assertThat(link("text", FIRST.and(OPTIONAL)).state()).isEqualTo(Link.State.WHOLE);
        Rule<One> unnamed = Rule.doubt("unnamed", SHOWN, one -> ABSENT.in(one).isEmpty(), "");
        assertThat(link("text", unnamed).text()).contains("the rule unnamed, which failed:", "does not name a/{two}");
        assertThat(link("bad", FIRST.on("others", one -> false)).state()).isEqualTo(Link.State.WHOLE);
    }

    @Test
    void brokenRulesComeFirstAndAnAlternativeOnlyAlone() {
        assertThat(link("text", FIRST, LAST).flaws()).extracting(Flaw::rule).containsExactly("last", "first");
        assertThat(link("text", FIRST, LAST.otherwise()).flaws())
                .extracting(Flaw::rule)
                .containsExactly("first");
        assertThat(link("text", FIRST.on("", one -> false), LAST.otherwise()).flaws())
                .extracting(Flaw::rule)
                .containsExactly("last");
    }

    @Test
    void namesAreUnique() {
        assertThat(HostIrqRules.TABLES.stream()
                        .flatMap(table -> table.rows().stream().map(Rule::id)))
                .doesNotHaveDuplicates()
                .allMatch(id -> id.matches("[a-z]+(-[a-z]+)*\\.[a-z]+(-[a-z]+)*"));
    }

    @Test
    void commandListsEachRuleWithItsSentenceAndFiles() {
        String printed = Cli.run("doctor", "--rules").out();
        assertThat(Stream.concat(
                        Doctor.tables().stream().flatMap(table -> table.rows().stream()),
                        Doctor.checks().stream().flatMap(one -> one.rows().stream())))
                .filteredOn(rule -> rule.state() != Rule.Flaw.State.NOTE)
                .isNotEmpty()
                .allMatch(rule -> printed.contains("  " + rule.id() + " "));
        assertThat(printed)
                .contains(
                        "support  support.no-tun                  doubtful  /dev/net/tun is missing: guests have no tap device;"
                                + " reads /proc/misc\n")
                .contains("device  device.bus-master-off           broken    bus mastering of the device is off"
                        + " (COMMAND.Bus Master is 0): it sends no message (MSI); reads"
                        + " /sys/bus/pci/devices/{function}/config\n");
    }

    /** A row begins with {@code broken(} or {@code doubt(} and ends where the next one, or another line, begins. */
    @Test
    void rowHasAtMostFourLines() throws IOException {
        List<String> rows = new ArrayList<>();
        List<Path> sources;
        try (Stream<Path> files = Files.list(Machine.root().resolve("src/command/java/io/kvmirq/diag/rules"))) {
            sources =
                    files.filter(file -> file.toString().endsWith("Rules.java")).toList();
        }
        for (Path source : sources) {
            String table = Files.readString(source).replaceAll("(?m)^(?! {8,12}[\\w\".+&|:?]).*$", "");
            for (String row : table.split("(?m)^(?= {8}(?:broken|doubt|note)\\(\")")) {
                if (row.matches("(?s) {8}(broken|doubt|note)\\(\".*")) {
                    rows.add(row.split("\n\n", 2)[0].strip());
                }
            }
        }
        assertThat(rows).isNotEmpty().allMatch(row -> row.lines().count() <= MOST_LINES);
    }
}
