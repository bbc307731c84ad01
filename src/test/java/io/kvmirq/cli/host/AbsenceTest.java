/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.DeviceRules;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.diag.screens.GuestSources;
import io.kvmirq.diag.screens.Listing;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.BiFunction;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * A search over absence: each file that a command reads of a host is removed, made unreadable or emptied, one at a time,
 * on a host with each planted fault and on each host without one. No command finds in order without it what it accuses
 * with it.
 */
@Tag("long")
class AbsenceTest {
    /** The links that show the bridges of a device. Another link has another target, or none, on another host. */
    private static final Pattern BRIDGES = Pattern.compile("sys/bus/pci/devices/[^/]*");

    /** Files that a kernel may lack by its configuration: absent, they accuse nothing; unreadable or empty, they may. */
    private static final Pattern OPTIONAL = Pattern.compile(".*/(schedstat|numa_node|nohz_full|cgroup\\.freeze)");

    /** It has 4096 vectors, of which each look takes seconds; only /proc/interrupts shows the flaw. */
    private static final String MANY = "more vectors than routes";

    /** A file that the kernel leaves empty on a host in order: no driver draws on a screen. */
    private static final String MAY_BE_EMPTY = "proc/fb";

    private static final int FEWEST_LOOKS = 20_000;
    private static final int FEWEST_NEEDED = 100;

    /** The damages. */
    private enum Damage {
        REMOVED,
        DENIED,
        EMPTY
    }

    /** A host with one damaged file or link. */
    private record Damaged(HostFiles tree, String path, Damage damage) implements HostFiles {
        @Override
        public Optional<byte[]> bytes(String file, int most) {
            return !file.equals(path)
                    ? tree.bytes(file, most)
                    : Optional.of(new byte[0]).filter(empty -> damage == Damage.EMPTY);
        }

        @Override
        public Optional<String> link(String file) {
            return file.equals(path) ? Optional.empty() : tree.link(file);
        }

        @Override
        public List<String> list(String directory) {
            return damage == Damage.REMOVED && path.startsWith(directory + "/")
                    ? tree.list(directory).stream()
                            .filter(name -> !path.equals(directory + "/" + name))
                            .toList()
                    : tree.list(directory);
        }

        @Override
        public Access access(String file) {
            return !file.equals(path)
                    ? tree.access(file)
                    : switch (damage) {
                        case REMOVED -> Access.ABSENT;
                        case DENIED -> Access.DENIED;
                        case EMPTY -> Access.ALLOWED;
                    };
        }
    }

    /** The grades of a command, by the name of what it grades. */
    private static final Map<String, BiFunction<HostFacts, PciAddress, Map<String, Link.State>>> COMMANDS = commands();

    private static Map<String, BiFunction<HostFacts, PciAddress, Map<String, Link.State>>> commands() {
        Map<String, BiFunction<HostFacts, PciAddress, Map<String, Link.State>>> all = new LinkedHashMap<>();
        all.put(
                "explain",
                (host, device) -> ofPaths(Stream.concat(
                        DeviceChains.gone(host, device).stream(),
                        host.pci(device).stream().flatMap(one -> DeviceChains.of(host, one).stream()))));
        all.put(
                "explain --vm",
                (host, device) -> ofLinks(GuestSources.of(host, host.vms().all()).stream()
                        .flatMap(sources -> Stream.of(sources.vmm(), sources.others()))));
        all.put("vfio", (host, device) -> ofVfio(host, device));
        all.put("list", (host, device) -> ofPaths(Listing.of(host, device::equals).chains().stream()));
        for (Check check : EnumSet.complementOf(EnumSet.of(Check.BACKENDS, Check.KERNEL_MEMORY))) {
            all.put("doctor " + check.id(), (host, device) -> ofCheck(host, check));
        }
        return all;
    }

    private static Map<String, Link.State> ofPaths(Stream<InterruptPath> paths) {
        return ofLinks(paths.flatMap(path -> path.links().stream()));
    }

    private static Map<String, Link.State> ofLinks(Stream<Link> links) {
        Map<String, Link.State> states = new TreeMap<>();
        links.forEach(link -> states.merge(link.hop().label(), link.state(), SpoiledFilesTest::worst));
        return states;
    }

    private static Map<String, Link.State> ofVfio(HostFacts host, PciAddress device) {
        Map<String, Link.State> states = new TreeMap<>();
        host.pci(device).ifPresent(one -> {
            boolean refused = !VfioOutlook.of(host, one).refusals().isEmpty();
            states.put("VFIO", refused ? Link.State.BROKEN : Link.State.WHOLE);
            states.put("device", DeviceRules.link(host, one).state());
        });
        return states;
    }

    private static Map<String, Link.State> ofCheck(HostFacts host, Check check) {
        List<Finding> findings = Doctor.examine(host, EnumSet.of(check));
        return new TreeMap<>(Map.of(
                check.id(),
                switch (findings.get(0).status()) {
                    case PASS -> Link.State.WHOLE;
                    case WARN -> Link.State.DOUBTFUL;
                    case FAIL -> Link.State.BROKEN;
                    case UNKNOWN -> Link.State.NOT_SHOWN;
                }));
    }

    private static boolean isFlaw(Link.State state) {
        return state == Link.State.BROKEN || state == Link.State.DOUBTFUL;
    }

    private static Map<String, Link.State> grades(String command, HostFiles files, PciAddress device) {
        return COMMANDS.get(command).apply(new HostFacts(files), device);
    }

    /** Whether a file is the only one of a process, which so has ended. */
    private static boolean isLast(HostFiles tree, String path) {
        String directory = path.substring(0, path.lastIndexOf('/'));
        return directory.matches("proc/\\d+") && tree.list(directory).size() == 1;
    }

    /** The states of what a command graded, with and without a file. */
    private record Look(
            PlantedFaultsTest.Fault host, String what, String path, Link.State with, List<Link.State> without) {
        @Override
        public String toString() {
            return what + " is in order without " + path + " of: " + host;
        }
    }

    private final Set<Object> known = new HashSet<>();
    private int looks;

    /** The states of each host without each of its files. Nothing of a command that read the same of another host. */
    private List<Look> looks(Stream<PlantedFaultsTest.Fault> hosts, Predicate<Link.State> such) throws IOException {
        List<Look> all = new ArrayList<>();
        for (PlantedFaultsTest.Fault host : hosts.toList()) {
            HostFiles tree = PlantedFaultsTest.apply(PlantedFaultsTest.host(host.tree()), host.tree(), host.changes())
                    .tree();
            PciAddress device = PciAddress.parse(PlantedFaultsTest.device(host.tree()));
            for (String command : COMMANDS.keySet()) {
                ReadOnce read = new ReadOnce(tree);
                Map<String, Link.State> with = grades(command, read, device);
                with.values().removeIf(such.negate());
                ReadOnce.Seen seen = read.seen();
                Map<String, Integer> contents = new TreeMap<>();
                seen.files().forEach((path, bytes) -> contents.put(path, Arrays.hashCode(bytes)));
                if (with.isEmpty()
                        || !known.add(List.of(command, contents, seen.links(), seen.names(), seen.denied()))) {
                    continue;
                }
                Set<String> paths = new TreeSet<>(seen.files().keySet());
                seen.links().keySet().stream()
                        .filter(path -> BRIDGES.matcher(path).matches())
                        .forEach(paths::add);
                for (String path : paths) {
                    List<Map<String, Link.State>> without = Stream.of(Damage.values())
                            .filter(damage -> damage != Damage.REMOVED || !isLast(tree, path))
                            .filter(damage -> damage != Damage.EMPTY || !path.equals(MAY_BE_EMPTY))
                            .map(damage -> grades(command, new Damaged(tree, path, damage), device))
                            .toList();
                    looks += without.size();
                    with.forEach((what, state) -> all.add(new Look(
                            host,
                            command + ", " + what,
                            path,
                            state,
                            without.stream()
                                    .map(one -> one.getOrDefault(what, Link.State.NOT_SHOWN))
                                    .toList())));
                }
            }
        }
        return all;
    }

    @Test
    void nothingIsInOrderWithoutAFileThatAccusesIt() throws IOException {
        Set<String> mechanisms = new HashSet<>();
        Stream<PlantedFaultsTest.Fault> hosts = PlantedFaultsTest.faults()
                .filter(one -> !one.mechanism().equals(MANY) && mechanisms.add(one.mechanism()));
        List<Look> silent = looks(hosts, AbsenceTest::isFlaw).stream()
                .filter(look -> look.without().contains(Link.State.WHOLE))
                .toList();
        assertThat(silent).isEmpty();
        assertThat(looks).isGreaterThan(FEWEST_LOOKS);
    }

    /** A file that one damage shows to be needed is needed, however it is damaged. */
    @Test
    void nothingIsInOrderWithoutAFileThatItNeeds() throws IOException {
        List<Look> all =
                looks(PlantedFaultsTest.harmless().filter(one -> one.changes().isEmpty()), Link.State.WHOLE::equals);
        assertThat(all)
                .filteredOn(look -> look.without().contains(Link.State.NOT_SHOWN))
                .hasSizeGreaterThan(FEWEST_NEEDED)
                .filteredOn(look -> !OPTIONAL.matcher(look.path()).matches())
                .filteredOn(look -> look.without().contains(Link.State.WHOLE))
                .isEmpty();
    }
}
