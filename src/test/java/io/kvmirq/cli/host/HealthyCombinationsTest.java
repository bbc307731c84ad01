/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Odd but healthy properties of a host, rows of harmless.txt, together: each three, and all at once. */
class HealthyCombinationsTest {
    private static final String TREE = "remapped";
    /** Each vector takes milliseconds. */
    private static final String TWO_VECTORS =
            "proc/interrupts without vfio-msix[2]; proc/interrupts without vfio-msix[3];"
                    + " proc/interrupts without vfio-msix[4]";

    /** Each is of other files than the others. */
    private static final List<String> ODD = List.of(
            "correctable errors",
            "override of its driver",
            "no power state",
            "aborts seen by the device",
            "runtime power management active",
            "irq beside its isolated vCPU",
            "a worker thread sleeps uninterruptibly",
            "limit of open files that doctor passes",
            "irq debugfs of a healthy irq",
            "one vCPU waits for the VMM",
            "eventfd with one signal",
            "quota that is not used up",
            "some wait for CPUs",
            "some wait for memory",
            "opened by its own file",
            "parked vCPU without a thread",
            "a process with the VM and no vCPU",
            "counts of KVM denied",
            "vCPUs that may come",
            "handler in a thread, of a kernel that may post",
            "many interrupts, and no storm",
            "node without CPUs",
            "a group within its limits",
            "another group frozen");

    private static final int PAIRS = 276;
    private static final int TRIPLES = 2024;

    private static Map<String, String> harmless(String tree) throws IOException {
        return PlantedFaultsTest.harmless()
                .filter(row -> row.tree().equals(tree))
                .collect(Collectors.toMap(
                        PlantedFaultsTest.Fault::mechanism,
                        PlantedFaultsTest.Fault::changes,
                        (text, other) -> text,
                        TreeMap::new));
    }

    private static Set<String> accused(RecordedHost base, String tree, List<String> changes) {
        RecordedHost host = PlantedFaultsTest.apply(new RecordedHost(base), tree, String.join("; ", changes));
        return Accusations.of(host.tree(), PciAddress.parse(PlantedFaultsTest.device(tree)));
    }

    @Test
    void noTwoAccuseTogether() throws IOException {
        assertThat(accused(2)).isEmpty();
    }

    @Test
    @Tag("long")
    void noThreeAccuseTogether() throws IOException {
        assertThat(accused(3)).isEmpty();
    }

    /** What some of the properties accuse together, and the tree without them does not. */
    private static List<String> accused(int together) throws IOException {
        Map<String, String> changes = harmless(TREE);
        RecordedHost base = PlantedFaultsTest.apply(PlantedFaultsTest.host(TREE), TREE, TWO_VECTORS);
        Set<String> before = accused(base, TREE, List.of());
        List<List<String>> combinations = combinations(together, 0);
        assertThat(combinations).hasSize(together == 2 ? PAIRS : TRIPLES);
        List<String> accused = new ArrayList<>();
        for (List<String> combination : combinations) {
            Set<String> after =
                    accused(base, TREE, combination.stream().map(changes::get).toList());
            after.removeAll(before);
            accused.addAll(after.isEmpty() ? List.of() : List.of(combination + ": " + after));
        }
        return accused;
    }

    /** All sets of properties from one on. */
    private static List<List<String>> combinations(int size, int from) {
        if (size == 0) {
            return List.of(List.of());
        }
        return IntStream.range(from, ODD.size())
                .boxed()
                .flatMap(first -> combinations(size - 1, first + 1).stream()
                        .map(rest -> Stream.concat(Stream.of(ODD.get(first)), rest.stream())
                                .toList()))
                .toList();
    }

    /** All that a tree can have. */
    @ParameterizedTest
    @ValueSource(strings = {"posted", "remapped", "arm", "intx"})
    void allTogetherAccuseNobody(String tree) throws IOException {
        Map<String, String> changes = harmless(tree);
        changes.keySet().retainAll(ODD);
        assertThat(changes).hasSizeGreaterThanOrEqualTo(16);
        RecordedHost base = PlantedFaultsTest.host(tree);
        Set<String> after = accused(base, tree, List.copyOf(changes.values()));
        assertThat(after).isSubsetOf(accused(base, tree, List.of()));
    }

    /** Two that change one file hide each other, but for bits of configuration space. */
    @Test
    void eachChangesOtherFiles() throws IOException {
        Map<String, String> changes = harmless(TREE);
        assertThat(ODD).doesNotHaveDuplicates().allMatch(changes::containsKey);
        Map<String, Long> files = ODD.stream()
                .flatMap(name -> Arrays.stream(changes.get(name).split("; "))
                        .map(change -> change.split(" ")[0])
                        .collect(Collectors.toCollection(TreeSet::new))
                        .stream())
                .collect(Collectors.groupingBy(Function.identity(), Collectors.counting()));
        files.remove("{dev}config");
        assertThat(files.values()).containsOnly(1L);
    }
}
