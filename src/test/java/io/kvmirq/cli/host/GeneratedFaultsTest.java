/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.host.AbsenceTest.Damage;
import io.kvmirq.cli.host.AbsenceTest.Damaged;
import io.kvmirq.cli.host.PlantedFaultsTest.Fault;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Flaw;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Hosts that are generated from the planted faults: each fault on the trees that its row does not name, parts of it, and
 * its opposite. On all of them, nobody is accused whom the fault does not concern.
 */
class GeneratedFaultsTest {
    private static final String TREES =
            "posted remapped nopost arm intx idle unused unnamed msi behind virtual virtio vhost-tasks";

    /** Each look takes seconds. */
    private static final String MANY = "more vectors than routes";

    /** The other rules that a fault concerns: on other trees the parent is the device, and irqs are not posted; in part, it is another fault. */
    private static final Map<String, String> ALSO = Map.of(
            "back end throttled", "backend\\.missing",
            "driver unbound", "device-vector\\.not-armed",
            "parent of a vDPA device asleep", "function\\.asleep",
            "parent of a vDPA device without bus master", "device\\.(bus-master-off|no-dma)",
            "vCPU on isolated CPUs", "host-irq\\.cpu-isolated",
            "vCPUs share a CPU", "host-irq\\.far-from-vcpus");

    /** Their opposite is a fault. */
    private static final Set<String> WITHOUT_OPPOSITE =
            Set.of("MSI and MSI-X on", "MSI to address 0", "MSI to memory", "configuration request retry");

    private static final Pattern BITS = Pattern.compile("\\S+ [-+] 0x\\w+ 0x\\w+");
    private static final Pattern OF_CONFIG = Pattern.compile("\\S+ ([-+]|ones|zeros|cut|grow)( .*)?");
    private static final int CONFIG = 256;
    private static final int FEWEST_FOUND = 1000;
    private static final int FEWEST_QUIET = 800;
    private static final int FEWEST_PARTS = 200;
    private static final int FEWEST_OPPOSITES = 60;
    private static final int FEWEST_LOOKS = 5000;

    private final Map<String, RecordedHost> trees = new HashMap<>();
    private final Map<String, Set<String>> before = new HashMap<>();

    private RecordedHost host(String tree) throws IOException {
        if (!trees.containsKey(tree)) {
            trees.put(tree, PlantedFaultsTest.host(tree));
            before.put(tree, flaws(trees.get(tree).tree(), tree).keySet());
        }
        return new RecordedHost(trees.get(tree));
    }

    /** The flaws of a tree with changes, which it does not have without them: rules and their subjects. */
    private Map<String, Flaw.Subject> accused(String tree, String changes) throws IOException {
        Map<String, Flaw.Subject> after =
                flaws(PlantedFaultsTest.apply(host(tree), tree, changes).tree(), tree);
        after.keySet().removeAll(before.get(tree));
        return after;
    }

    private static Map<String, Flaw.Subject> flaws(HostFiles files, String tree) {
        PciAddress device = PciAddress.parse(PlantedFaultsTest.device(tree));
        return Accusations.flaws(Accusations.links(new HostFacts(files), device))
                .collect(Collectors.toMap(Flaw::rule, Flaw::subject, (subject, other) -> subject, TreeMap::new));
    }

    /** A mechanism, the trees of its row, and what it is there. */
    private record Mechanism(Fault fault, Set<String> trees, Map<String, Flaw.Subject> flaws) {
        /** Whom it does not concern. */
        Map<String, Flaw.Subject> others(Map<String, Flaw.Subject> accused) {
            Map<String, Flaw.Subject> others = new TreeMap<>(accused);
            others.keySet().removeAll(flaws.keySet());
            others.values().removeAll(flaws.values());
            others.keySet().removeIf(rule -> rule.matches(ALSO.getOrDefault(fault.mechanism(), "")));
            return others;
        }
    }

    private List<Mechanism> mechanisms() throws IOException {
        Map<String, List<Fault>> rows = PlantedFaultsTest.faults()
                .filter(fault -> !fault.mechanism().equals(MANY))
                .collect(Collectors.groupingBy(Fault::mechanism, TreeMap::new, Collectors.toList()));
        List<Mechanism> all = new ArrayList<>();
        for (List<Fault> row : rows.values()) {
            Map<String, Flaw.Subject> flaws = new TreeMap<>();
            for (Fault fault : row) {
                flaws.putAll(accused(fault.tree(), fault.changes()));
            }
            all.add(new Mechanism(
                    row.get(0), row.stream().map(Fault::tree).collect(Collectors.toCollection(TreeSet::new)), flaws));
        }
        return all;
    }

    /** Whether a tree has the functions whose configuration space and directories changes edit; rows of a GIC are of arm64. */
    private boolean has(String tree, String changes) throws IOException {
        HostFiles files = host(tree).tree();
        return Arrays.stream(changes.split("; ")).allMatch(change -> {
            String path = change.split(" ")[0]
                    .replace("{dev}", "sys/bus/pci/devices/" + PlantedFaultsTest.device(tree) + "/")
                    .replace("{bridge}", "sys/bus/pci/devices/0000:00:1c.0/")
                    .replace("{physical}", "sys/bus/pci/devices/0000:00:03.0/");
            boolean config = OF_CONFIG.matcher(change).matches();
            boolean found = config
                    ? files.bytes(path, CONFIG)
                            .filter(bytes -> bytes.length == CONFIG)
                            .isPresent()
                    : !change.matches("\\{(bridge|physical)}.*") || tree.matches("behind|virtual");
            return found && (tree.equals("arm") || !change.contains("GICv3"));
        });
    }

    @Test
    @Tag("long")
    void faultConcernsTheSameOnOtherTrees() throws IOException {
        List<String> wrong = new ArrayList<>();
        int found = 0;
        int quiet = 0;
        for (Mechanism mechanism : mechanisms()) {
            for (String tree : TREES.split(" ")) {
                if (!mechanism.trees.contains(tree) && has(tree, mechanism.fault.changes())) {
                    Map<String, Flaw.Subject> there = accused(tree, mechanism.fault.changes());
                    found += there.keySet().stream().anyMatch(mechanism.flaws::containsKey) ? 1 : 0;
                    quiet += there.isEmpty() ? 1 : 0;
                    Map<String, Flaw.Subject> others = mechanism.others(there);
                    wrong.addAll(
                            others.isEmpty()
                                    ? List.of()
                                    : List.of(mechanism.fault.mechanism() + ", " + tree + ": " + others + ", not "
                                            + mechanism.flaws));
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(found).isGreaterThan(FEWEST_FOUND);
        assertThat(quiet).isGreaterThan(FEWEST_QUIET);
    }

    @Test
    void partOfAFaultConcernsNoOther() throws IOException {
        List<String> wrong = new ArrayList<>();
        int count = 0;
        for (Mechanism mechanism : mechanisms()) {
            String[] parts = mechanism.fault.changes().split("; ");
            for (int left = 0; left < parts.length && parts.length > 1; left++) {
                if (!parts[left].contains(" grow ")) {
                    int without = left;
                    String rest = IntStream.range(0, parts.length)
                            .filter(part -> part != without)
                            .mapToObj(part -> parts[part])
                            .collect(Collectors.joining("; "));
                    Map<String, Flaw.Subject> others = mechanism.others(accused(mechanism.fault.tree(), rest));
                    String name = mechanism.fault + " without " + parts[left];
                    wrong.addAll(
                            others.isEmpty() ? List.of() : List.of(name + ": " + others + ", not " + mechanism.flaws));
                    count++;
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(count).isGreaterThan(FEWEST_PARTS);
    }

    /** Bits of configuration space that a fault clears are set, and the others cleared. */
    @Test
    void oppositeOfAFaultIsQuiet() throws IOException {
        int count = 0;
        for (Fault fault : PlantedFaultsTest.faults().toList()) {
            String opposite = Arrays.stream(fault.changes().split("; "))
                    .filter(change -> BITS.matcher(change).matches())
                    .map(change -> change.contains(" + ") ? change.replace(" + ", " - ") : change.replace(" - ", " + "))
                    .collect(Collectors.joining("; "));
            if (!opposite.isEmpty()
                    && !fault.changes().contains(" grow ")
                    && !WITHOUT_OPPOSITE.contains(fault.mechanism())) {
                assertThat(accused(fault.tree(), opposite))
                        .as(fault + ": " + opposite)
                        .isEmpty();
                count++;
            }
        }
        assertThat(count).isGreaterThan(FEWEST_OPPOSITES);
    }

    /** Each mechanism on one tree that its row does not name, without each file that is read there. */
    @Test
    @Tag("long")
    void faultConcernsTheSameWithoutAFile() throws IOException {
        List<String> wrong = new ArrayList<>();
        int looks = 0;
        for (Mechanism mechanism : mechanisms()) {
            for (String tree : TREES.split(" ")) {
                if (mechanism.trees.contains(tree)
                        || !has(tree, mechanism.fault.changes())
                        || accused(tree, mechanism.fault.changes()).keySet().stream()
                                .noneMatch(mechanism.flaws::containsKey)) {
                    continue;
                }
                ReadOnce read = new ReadOnce(PlantedFaultsTest.apply(host(tree), tree, mechanism.fault.changes())
                        .tree());
                Set<String> with = flaws(read, tree).keySet();
                for (String path : read.seen().files().keySet()) {
                    looks++;
                    Damage damage = looks % 2 == 0 ? Damage.DENIED : Damage.REMOVED;
                    Map<String, Flaw.Subject> without = flaws(new Damaged(read, path, damage), tree);
                    without.keySet().removeAll(with);
                    without.keySet().removeAll(before.get(tree));
                    Map<String, Flaw.Subject> others = mechanism.others(without);
                    wrong.addAll(
                            others.isEmpty()
                                    ? List.of()
                                    : List.of(mechanism.fault.mechanism() + ", " + tree + " " + damage + " " + path
                                            + ": " + others));
                }
                break;
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(looks).isGreaterThan(FEWEST_LOOKS);
    }
}
