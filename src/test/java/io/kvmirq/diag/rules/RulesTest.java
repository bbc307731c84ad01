/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Rules that are rows. PlantedFaultsTest plants the flaws. */
class RulesTest {
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
    private static final String ROWS = """
            # A comment, and an empty line

            @shared | command: echo 1 \\| tee /%s | live | none
            @looks | look: dmesg | - | -
            first | host irq | vector | lossy | /a/{one} | first holds | @shared, @looks | - | -
            last | host irq | vector | broken | /a/{one} | %s holds | kernel parameter: add it | needs a reboot | all is new
            absent | host irq | vector | slow ever | /a/{one}, /a/{two} | it was slow | - | - | -
            optional | host irq | vector | lossy | /a/{one}, /a/{three} | it holds | - | - | -
            elsewhere | GSI | vector | lossy | /a/{one} | it holds | - | - | -
            fails | host irq | vector | lossy | /a/{one} | it fails | - | - | -
            """;
    private static final Rows TABLE = new Rows("rows", ROWS);
    private static final Rule<One> FIRST = Rule.of(TABLE.row("first"), SHOWN, one -> true);
    private static final Rule<One> LAST =
            Rule.of(TABLE.row("last"), SHOWN, (One one) -> true).with(one -> "last");

    @SafeVarargs
    @SuppressWarnings("varargs")
    private static Link link(String text, Rule<One>... rules) {
        One subject = new One(text);
        return new Flaws().apply(subject, new Table<>(rules)).link(Hop.HOST_IRQ, FILE, "27", "seen");
    }

    @Test
    void ruleThatFailsIsNamedAndTheOthersGoOn() {
        Rule<One> fails =
                Rule.of(TABLE.row("fails"), SHOWN, one -> one.name("x").charAt(5) == 'x');
        assertThat(link("text", fails).text())
                .startsWith("seen; not checked: the rule fails, which failed: java.lang.StringIndexOutOf");
        assertThat(link("text", fails).state()).isEqualTo(Link.State.NOT_SHOWN);
        assertThat(link("text", fails, LAST).text()).isEqualTo("last holds");
    }

    @Test
    void ruleIsNotAskedWithoutAFactThatItNeeds() {
        assertThat(link("bad", FIRST).text()).isEqualTo("seen; not checked: /a/1 has an unknown format");
        Rule<One> absent = Rule.of(TABLE.row("absent"), SHOWN, one -> true);
        assertThat(link("text", absent.and(ABSENT)).text()).isEqualTo("seen; not checked: /a/two does not exist");
        Rule<One> optional = Rule.of(TABLE.row("optional"), SHOWN, one -> true);
        assertThat(link("text", optional.and(OPTIONAL)).state()).isEqualTo(Link.State.WHOLE);
        Rule<One> unnamed =
                Rule.of(TABLE.row("fails"), SHOWN, one -> ABSENT.in(one).isEmpty());
        assertThat(link("text", unnamed).text()).contains("the rule fails, which failed:", "does not name a/{two}");
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
    void rowGivesWhatAReaderOfTheFileSees() {
        assertThat(TABLE.row("first").remedies())
                .containsExactly(
                        Remedy.of(Remedy.Change.COMMAND, "echo 1 | tee /%s"), Remedy.of(Remedy.Change.LOOK, "dmesg"));
        assertThat(link("text", FIRST.fill(one -> "dev/null")).remedies())
                .extracting(Remedy::text)
                .containsExactly("echo 1 | tee /dev/null", "dmesg");
        assertThat(link("text", FIRST.fill(one -> "sys/fs/cgroup/qemu\\x2d1.scope"))
                        .remedies())
                .extracting(Remedy::text)
                .contains("echo 1 | tee '/sys/fs/cgroup/qemu\\x2d1.scope'");
        assertThat(TABLE.row("absent").span()).isEqualTo(Flaw.Span.EVER);
        assertThat(LAST.flaw(new One("text"), Flaw.Subject.HELPER).remedies())
                .containsExactly(Remedy.of(Remedy.Change.KERNEL_PARAMETER, "add it", "all is new"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '~',
            value = {
                "x.one | host irq | vector | lossy | /a | it holds | - | - ~ \"x.one\" has 8 columns, expected 9",
                "x.good | host irq | vector | lossy | /a | it holds | - | - | - ~ \"x.good\" has a row already",
                "x.one | host irq | vector | heavy | /a | it holds | - | - | - ~ \"heavy\" is not one of [broken,",
                "x.one | host irq | vector | lossy | /a |  | - | - | - ~ \"x.one\" has an empty column",
                "x.one | host irq | vector | lossy | /a | it holds | @none | - | - ~ \"@none\" has no row",
                "x.one | host irq | vector | lossy | /a | it holds | command: echo | live | - ~ a remedy is \"kind: what",
                "x.one | host irq | vector | lossy | /a | it holds | look: dmesg | - | none ~ a remedy is \"kind: what",
                "x.one | host irq | vector | lossy | /a | it holds | drink: tea | live | none ~ \"drink\" is not one"
                        + " of [kernel",
                "@one | look: dmesg | - ~ \"@one\" has 3 columns, expected 4",
            })
    void wrongRowIsNamedByItsLine(String line, String message) {
        String good = "x.good | host irq | vector | lossy | /a | it holds | - | - | -\n";
        assertThatThrownBy(() -> new Rows("rows", good + "\n" + line))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("rows:3: " + message);
    }

    @Test
    void tableRefusesRowsOfOtherFilesAndOfAnotherHop() {
        Rule<One> absent = Rule.of(TABLE.row("absent"), SHOWN, one -> true);
        assertThat(new Table<>(absent.and(ABSENT)).hop()).isEqualTo(Hop.HOST_IRQ);
        assertThatThrownBy(() -> new Table<>(absent))
                .hasMessage(
                        "the row of absent is of host irq and reads [/a/{one}, /a/{two}], but the rule is of host irq and"
                                + " reads [/a/{one}]");
        Rule<One> elsewhere = Rule.of(TABLE.row("elsewhere"), SHOWN, one -> true);
        assertThatThrownBy(() -> new Table<>(LAST, elsewhere))
                .hasMessageContaining("is of GSI", "the rule is of host irq");
    }

    /** A row that no rule has would be read by administrators, and never hold. */
    @Test
    void eachRowIsOfOneRule() {
        List<String> used = Stream.concat(
                        Doctor.tables().stream().flatMap(table -> table.rows().stream()),
                        Doctor.checks().stream().flatMap(check -> check.rows().stream()))
                .map(Rule::id)
                .distinct()
                .toList();
        assertThat(used).containsExactlyInAnyOrderElementsOf(Rows.SHIPPED.ids());
        assertThat(used).allMatch(id -> id.matches("[a-z]+(-[a-z]+)*\\.[a-z]+(-[a-z0-9]+)*"));
    }

    @Test
    void commandListsEachRuleWithItsSentenceAndFiles() {
        String printed = Cli.run("doctor", "--rules").out();
        assertThat(Stream.concat(
                        Doctor.tables().stream().flatMap(table -> table.rows().stream()),
                        Doctor.checks().stream().flatMap(check -> check.rows().stream())))
                .filteredOn(rule -> rule.state() != Rule.Flaw.State.NOTE)
                .isNotEmpty()
                .allMatch(rule -> printed.contains("  " + rule.id() + " "));
        assertThat(printed)
                .contains(
                        "support  support.no-tun                  doubtful  /dev/net/tun is missing, so guests have no tap device;"
                                + " reads /proc/misc; command: modprobe tun (live; risk: none known)\n")
                .contains("device  device.bus-master-off           broken    bus mastering is off"
                        + " (COMMAND.Bus Master is 0), so the device cannot do DMA or send MSIs (MSI); reads"
                        + " /sys/bus/pci/devices/{function}/config; command: reload the device's driver in the"
                        + " guest to set the bit again (live; risk: the guest loses the device meanwhile)\n");
    }
}
