/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.rules.Kinds;
import io.kvmirq.diag.rules.Kinds.Kind;
import io.kvmirq.diag.rules.Kinds.Member;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.diag.screens.Doctor;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The table of kinds, against the rules and against the lists that it is counted from. */
class KindsTest {
    private static final List<Kind> KINDS = Kinds.of(Doctor.every());

    private static Kind kind(String name) {
        return KINDS.stream()
                .filter(kind -> kind.name().equals(name))
                .findFirst()
                .orElseThrow();
    }

    private static Set<String> names(Kind kind) {
        return kind.others().stream()
                .flatMap(member -> Arrays.stream(member.name().split(", ")))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    @Test
    void eachRuleIsOfOneKind() {
        List<String> all = Doctor.every().stream().map(Rule::id).toList();
        assertThat(KINDS.stream().flatMap(kind -> kind.rules().stream()).map(Rule::id))
                .containsExactlyInAnyOrderElementsOf(all)
                .doesNotHaveDuplicates();
        assertThat(KINDS)
                .allSatisfy(kind ->
                        assertThat(kind.rules().size() + kind.others().size()).isPositive());
    }

    @Test
    void eachPatternIsOfARule() throws IOException {
        List<String> ids = Doctor.every().stream().map(Rule::id).toList();
        List<String> patterns = Cli.golden(Check.class, "rules/kinds.txt")
                .lines()
                .filter(line -> line.startsWith("@"))
                .flatMap(line -> Stream.of(line.split(" \\| ")[2].split(", ")))
                .filter(pattern -> !pattern.equals("-"))
                .toList();
        assertThat(patterns).hasSizeGreaterThan(60).doesNotHaveDuplicates().allSatisfy(pattern -> assertThat(ids)
                .anyMatch(id -> id.matches(pattern.replace(".", "\\.").replace("*", ".*"))));
    }

    /** The lists are the kernel's, of Linux 7.0; an element is a member, or behind it stands the rule that has it. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "resets | device_specific acpi flr af_flr pm bus cxl_bus",
                "limits | cpu fsize data stack core rss nproc memlock as locks sigpending msgqueue nice rtprio rttime nofile=vmm.files",
                "states | R S P I D=vmm.uninterruptible T=vmm.stopped t=vmm.stopped-by-tracer X=vmm.ended Z=vmm.ended",
                "rows | NMI LOC PMI IWI RTR RES CAL TLB MCP HYP HRE HVS PIN NPI PIW PMN VPMI SPU=host-irq.spurious-vectors"
                        + " TRM=host-irq.hot THR=host-irq.threshold-errors DFR=host-irq.deferred-errors MCE=host-irq.machine-checks"
                        + " ERR=host-irq.apic-errors MIS=host-irq.misrouted",
                "lockdown | MODULE_SIGNATURE DEV_MEM EFI_TEST KEXEC HIBERNATION PCI_ACCESS IOPORT MSR ACPI_TABLES DEVICE_TREE"
                        + " PCMCIA_CIS TIOCSSERIAL MODULE_PARAMETERS MMIOTRACE DEBUGFS XMON_WR BPF_WRITE_USER DBG_WRITE_KERNEL"
                        + " RTAS_ERROR_INJECTION KCORE KPROBES BPF_READ_KERNEL DBG_READ_KERNEL PERF TRACEFS XMON_RW XFRM_SECRET"
            })
    void listOfTheKernelIsComplete(String name, String list) {
        Kind kind = kind(name);
        for (String element : list.split(" ")) {
            String[] ruled = element.split("=");
            if (ruled.length == 1) {
                assertThat(names(kind)).contains(element);
            } else {
                assertThat(kind.rules()).anyMatch(rule -> rule.id().equals(ruled[1]));
                assertThat(names(kind)).doesNotContain(ruled[0]);
            }
        }
    }

    @Test
    void inhibitsAreThoseOfTheEnum() {
        assertThat(names(kind("inhibits")))
                .containsAll(Stream.of(InhibitReason.values()).map(Enum::name).toList());
    }

    /** The test of parameters has those that do nothing, each with its reason. */
    @Test
    void parametersAreCounted() throws IOException {
        List<String> verdicts = Cli.golden(ParametersTest.class, "parameters.txt")
                .lines()
                .filter(line -> !line.startsWith("#"))
                .map(line -> line.split(" \\| ")[4])
                .toList();
        assertThat(kind("parameters").others())
                .extracting(Member::members)
                .containsExactly(
                        (int) verdicts.stream().filter("harmless"::equals).count(),
                        (int) verdicts.stream().filter("?"::equals).count(),
                        (int) Cli.golden(Check.class, "rules/parameters.txt")
                                .lines()
                                .filter(line -> !line.startsWith("#"))
                                .count());
    }

    @Test
    void rulesEndWithTheKinds() {
        assertThat(Cli.run("doctor", "--rules").out())
                .containsPattern("rows +\\d+ members: +\\d+ ruled, +1 remarked, +\\d+ harmless, +0 that no file shows")
                .contains("no file shows  registers: MSI-X vector mask: it is in a BAR");
    }
}
