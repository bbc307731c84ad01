/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Flaw;
import java.io.IOException;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each parameter of the kernel's command line that touches the path, on hosts that are in order. */
class ParametersTest {
    private static final String CMDLINE = "proc/cmdline";

    private record Parameter(String name, String value, String area, String verdict) {
        String word() {
            return value.equals("-") ? name : name + "=" + (value.equals("*") ? "1" : value);
        }
    }

    private static List<Parameter> parameters() throws IOException {
        return Cli.golden(ParametersTest.class, "parameters.txt")
                .lines()
                .filter(line -> !line.startsWith("#"))
                .map(line -> line.split(" \\| "))
                .map(columns -> new Parameter(columns[0], columns[1], columns[2], columns[4]))
                .toList();
    }

    /** The rules that accuse somebody, and the checks that do not pass. */
    private static Set<String> accusations(String tree, String words) throws IOException {
        RecordedHost host = PlantedFaultsTest.host(tree);
        String line = host.tree().text(CMDLINE).orElse("ro quiet");
        HostFacts facts = new HostFacts(
                host.put(CMDLINE, line.strip() + " " + words + "\n").tree());
        Set<String> all = new TreeSet<>();
        facts.pci(PciAddress.parse(PlantedFaultsTest.device(tree))).stream()
                .flatMap(device -> DeviceChains.read(facts, device).stream())
                .flatMap(chain -> chain.links().stream())
                .flatMap(link -> link.flaws().stream())
                .filter(flaw -> flaw.weight() != Flaw.Weight.REMARK)
                .forEach(flaw -> all.add(flaw.rule()));
        Set<Check> checks = EnumSet.allOf(Check.class);
        checks.removeIf(Check::isStepOfItsOwn);
        Doctor.examine(facts, checks).stream()
                .filter(finding -> finding.status() == Finding.Status.FAIL || finding.status() == Finding.Status.WARN)
                .forEach(finding -> all.add(finding.check().id() + " " + finding.reason()));
        return all;
    }

    /** All harmless ones of an area at once; the message names the one that accuses. */
    @ParameterizedTest
    @ValueSource(strings = {"posted", "remapped", "arm"})
    void harmlessOnesAccuseNobody(String tree) throws IOException {
        Set<String> before = accusations(tree, "");
        Map<String, List<Parameter>> areas = parameters().stream()
                .filter(parameter -> parameter.verdict.equals("harmless"))
                .collect(Collectors.groupingBy(Parameter::area));
        assertThat(areas).hasSizeGreaterThan(8);
        for (List<Parameter> area : areas.values()) {
            String words = area.stream().map(Parameter::word).collect(Collectors.joining(" "));
            if (!before.containsAll(accusations(tree, words))) {
                for (Parameter parameter : area) {
                    assertThat(accusations(tree, parameter.word()))
                            .as(parameter.word())
                            .isSubsetOf(before);
                }
            }
            assertThat(accusations(tree, words)).as(words).isSubsetOf(before);
        }
    }

    /** Each row of kvmirq's own table, on the hosts that it is about and on no others. */
    @Test
    void othersAreNamed() throws IOException {
        Set<String> rules = Doctor.every().stream().map(Rule::id).collect(Collectors.toSet());
        List<String[]> rows = Cli.golden(Check.class, "rules/parameters.txt")
                .lines()
                .filter(line -> !line.startsWith("#"))
                .map(line -> line.split(" \\| "))
                .toList();
        assertThat(rows).hasSizeGreaterThan(60);
        for (String[] row : rows) {
            if (!row[5].equals("-")) {
                assertThat(rules).contains(row[5]);
                continue;
            }
            String value = row[1].equals("*") ? "1" : row[1];
            String word = value.equals("-") ? row[0] : row[0] + "=" + value;
            for (String tree : List.of("posted", "remapped", "arm")) {
                boolean concerned =
                        switch (row[2]) {
                            case "intel" -> tree.equals("posted");
                            case "amd" -> tree.equals("remapped");
                            case "arm64" -> tree.equals("arm");
                            case "x86" -> !tree.equals("arm");
                            default -> true;
                        };
                Finding found = found(tree, word.replace("kvm-", "kvm_"));
                assertThat(found.text().contains(row[6])).as(tree + ", " + word).isEqualTo(concerned);
                Finding.Status status = row[4].equals("lossy") ? Finding.Status.WARN : Finding.Status.PASS;
                assertThat(found.status()).as(word).isEqualTo(concerned ? status : Finding.Status.PASS);
            }
        }
    }

    /** The kernel hands such a word to init, and says so only in its log. */
    @ParameterizedTest
    @CsvSource({
        "isolcpu=2-3,isolcpus",
        "isolcpsu=2-3,isolcpus",
        "intel-iomu=on,intel_iommu",
        "nohzfull=2-3,nohz_full",
        "intremapp=on,intremap"
    })
    void misspeltWordIsNamed(String word, String real) throws IOException {
        assertThat(found("posted", word).text()).contains(word.split("=")[0] + ", for " + real);
        assertThat(found("posted", real + "=x splash BOOT_IMAGE=/vmlinuz isolated=2")
                        .reason())
                .isNotEqualTo("misspelt");
    }

    private static Finding found(String tree, String words) throws IOException {
        return found(PlantedFaultsTest.host(tree), words);
    }

    private static Finding found(RecordedHost host, String words) {
        return Accusations.finding(host.put(CMDLINE, "ro quiet " + words + "\n").tree(), Check.PARAMETERS);
    }

    /** The module shows what it took; until it is loaded, the last word decides, and of a list each part. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "kvm.halt_poll_ns=0 kvm.halt_poll_ns=5 kvm.halt_poll_ns=0 | | true",
                "kvm.halt_poll_ns=0 kvm.halt_poll_ns=0 kvm.halt_poll_ns=5 | | false",
                "kvm.halt_poll_ns=0 | sys/module/kvm/parameters/halt_poll_ns = 200000 | false",
                "kvm.halt_poll_ns=5 | sys/module/kvm/parameters/halt_poll_ns = 0 | true",
                "quiet | sys/module/pcie_aspm/parameters/policy = default performance [powersave] powersupersave | true",
                "quiet | sys/module/pcie_aspm/parameters/policy = [default] performance powersave powersupersave | false",
                "kvm.allow_unsafe_mappings=Y | | true",
                "kvm.allow_unsafe_mappings=n | | false",
                "\"pci=noaer,noari\" pci=realloc | | true",
                "pci=realloc,disable_acs_redir=0000:00:1c.0 | | true",
                "xpci=noari pci pci= pci=noarim =noari | | false"
            })
    void valueThatIsInForceDecides(String words, String file, boolean named) throws IOException {
        RecordedHost host =
                PlantedFaultsTest.apply(PlantedFaultsTest.host("remapped"), "remapped", file == null ? "" : file);
        assertThat(found(host, words + " " + "x".repeat(4096)).reason().equals("none"))
                .isNotEqualTo(named);
    }

    /** Parameters whose effect no test of another check shows. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "posted | intremap=nosid | remapping sources-not-checked",
                "posted | intremap=nopost | posting switched-off",
                "posted | pcie_acs_override=downstream | iommu acs-override",
                "idle | pci=nomsi | device.no-messages",
                "remapped | amd_iommu_intr=legacy | posting no-virtual-apic",
                "arm | kvm-arm.mode=none | kvm switched-off"
            })
    void anotherRuleNamesIt(String tree, String word, String accusation) throws IOException {
        assertThat(accusations(tree, word)).contains(accusation);
    }
}
