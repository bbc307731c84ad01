/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
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
                .flatMap(device -> DeviceChains.of(facts, device).stream())
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
                .filter(one -> one.verdict.equals("harmless"))
                .collect(Collectors.groupingBy(Parameter::area));
        assertThat(areas).hasSizeGreaterThan(8);
        for (List<Parameter> area : areas.values()) {
            String words = area.stream().map(Parameter::word).collect(Collectors.joining(" "));
            if (!before.containsAll(accusations(tree, words))) {
                for (Parameter one : area) {
                    assertThat(accusations(tree, one.word())).as(one.word()).isSubsetOf(before);
                }
            }
            assertThat(accusations(tree, words)).as(words).isSubsetOf(before);
        }
    }

    /** Those of which the command line is the only file that tells. */
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
    void othersAreNamed(String tree, String word, String accusation) throws IOException {
        assertThat(parameters())
                .filteredOn(one -> one.name.equals(word.split("=")[0]))
                .filteredOn(one -> one.value.equals("*") || one.word().equals(word))
                .extracting(Parameter::verdict)
                .isSubsetOf("breaks", "slow", "unsafe")
                .isNotEmpty();
        assertThat(accusations(tree, word)).contains(accusation);
    }
}
