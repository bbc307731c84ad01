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
import io.kvmirq.diag.screens.Listing;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
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
 * on a host with each planted fault and on each host without one; each process is hidden by a pid namespace, and debugfs
 * by lockdown. No command finds in order without it what it accuses with it, and none accuses what it finds in order.
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

    /** Files that older captures do not have, and threads that end meanwhile: that they are not there says nothing. */
    private static final Pattern LATER = Pattern.compile(
            "proc/iomem|proc/66/task/\\d+/stat|sys/bus/pci/devices/.*/((current|max)_link_width|resource)");

    /** The file that each command that sees a process reads of it. */
    private static final Pattern PROCESS = Pattern.compile("proc/\\d+/comm");

    private static final Set<Damage> OF_ONE_FILE = EnumSet.of(Damage.REMOVED, Damage.DENIED, Damage.EMPTY);

    private static final String DEBUGFS = "sys/kernel/debug";

    /** The files of an entry's form: an irq whose form is not shown is taken for one that is not posted. */
    private static final Pattern FORM =
            Pattern.compile("host irq, .*(proc/cpuinfo|sys/kernel/debug/iommu/\\S+|sys/kernel/debug/irq/\\S+) of ");

    private static final int FEWEST_LOOKS = 20_000;
    private static final int FEWEST_NEEDED = 100;

    /** The damage of a file, or of all files of a process or of debugfs. */
    enum Damage {
        REMOVED,
        DENIED,
        EMPTY,
        /** The process of the file is in a pid namespace that this one does not see. */
        HIDDEN,
        /** The kernel is locked down, and root may not read debugfs either. */
        LOCKED;

        boolean concerns(String path) {
            return switch (this) {
                case REMOVED, DENIED, EMPTY -> true;
                case HIDDEN -> PROCESS.matcher(path).matches();
                case LOCKED -> path.startsWith(DEBUGFS + "/");
            };
        }
    }

    /** A host with one damage. */
    record Damaged(HostFiles tree, String path, Damage damage) implements HostFiles {
        private boolean has(String file) {
            return switch (damage) {
                case REMOVED, DENIED, EMPTY -> file.equals(path);
                case HIDDEN -> (file + "/").startsWith(path.substring(0, path.lastIndexOf('/') + 1));
                case LOCKED -> (file + "/").startsWith(DEBUGFS + "/");
            };
        }

        @Override
        public Optional<byte[]> bytes(String file, int max) {
            if (damage == Damage.LOCKED && file.equals("sys/kernel/security/lockdown")) {
                return Optional.of("none [integrity] confidentiality\n".getBytes(StandardCharsets.UTF_8));
            }
            return !has(file)
                    ? tree.bytes(file, max)
                    : Optional.of(new byte[0]).filter(empty -> damage == Damage.EMPTY);
        }

        @Override
        public Optional<String> link(String file) {
            return damage == Damage.HIDDEN && file.equals("proc/self/ns/pid")
                    ? Optional.of("pid:[4026532700]")
                    : has(file) ? Optional.empty() : tree.link(file);
        }

        @Override
        public List<String> list(String directory) {
            boolean absent = damage == Damage.REMOVED || damage == Damage.HIDDEN;
            return damage != Damage.LOCKED && has(directory)
                    ? List.of()
                    : tree.list(directory).stream()
                            .filter(name -> !absent || !has(directory + "/" + name))
                            .toList();
        }

        @Override
        public Access access(String file) {
            return !has(file)
                    ? tree.access(file)
                    : switch (damage) {
                        case REMOVED, HIDDEN -> Access.ABSENT;
                        case DENIED, LOCKED -> Access.DENIED;
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
                        host.pci(device).stream().flatMap(found -> DeviceChains.read(host, found).stream()))));
        all.put(
                "explain --vm",
                (host, device) -> ofPaths(PathsCheck.ofGuests(host, host.vms().all()).stream()));
        all.put("vfio", (host, device) -> ofVfio(host, device));
        all.put("list", (host, device) -> ofPaths(Listing.read(host, device::equals).chains().stream()));
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
        host.pci(device).ifPresent(found -> {
            boolean refused = !VfioOutlook.read(host, found).refusals().isEmpty();
            // Armed interrupts prove that a program has the device; without their file, vfio says what it assumes.
            boolean unseen = host.sight().namespaced() || host.interrupts().isEmpty();
            Link.State taken = unseen ? Link.State.NOT_SHOWN : Link.State.WHOLE;
            states.put("VFIO", refused ? Link.State.BROKEN : taken);
            states.put("device", DeviceRules.link(host, found).state());
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

    /** The states of what a command graded, without a file. */
    private record Look(PlantedFaultsTest.Fault host, String what, String path, Map<Damage, Link.State> without) {
        boolean isInOrder() {
            return without.containsValue(Link.State.WHOLE);
        }

        boolean isInOrder(Damage damage) {
            return without.get(damage) == Link.State.WHOLE;
        }

        @Override
        public String toString() {
            return what + " without " + path + " of " + host + " is " + without;
        }
    }

    /** The flaws that a command finds without a file, and not with it. */
    private final Set<String> accusations = new TreeSet<>();

    private final Set<Object> known = new HashSet<>();
    private int count;

    /** The states of each host without each of its files. Nothing of a command that read the same of another host. */
    private List<Look> looks(Stream<PlantedFaultsTest.Fault> hosts, Predicate<Link.State> condition)
            throws IOException {
        List<Look> looks = new ArrayList<>();
        for (PlantedFaultsTest.Fault host : hosts.toList()) {
            HostFiles tree = PlantedFaultsTest.apply(PlantedFaultsTest.host(host.tree()), host.tree(), host.changes())
                    .tree();
            PciAddress device = PciAddress.parse(PlantedFaultsTest.device(host.tree()));
            for (String command : COMMANDS.keySet()) {
                ReadOnce read = new ReadOnce(tree);
                Map<String, Link.State> whole = grades(command, read, device);
                Map<String, Link.State> with = new TreeMap<>(whole);
                with.values().removeIf(condition.negate());
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
                    Map<Damage, Map<String, Link.State>> without = new EnumMap<>(Damage.class);
                    for (Damage damage : Damage.values()) {
                        if (damage.concerns(path) && !isHarmless(damage, path, command, tree)) {
                            without.put(damage, grades(command, new Damaged(tree, path, damage), device));
                            count++;
                        }
                    }
                    without.forEach((damage, states) -> states.forEach((what, state) -> {
                        if (isFlaw(state) && !isFlaw(whole.getOrDefault(what, Link.State.NOT_SHOWN))) {
                            accusations.add(command + ", " + what + ", " + damage + " " + path + " of " + host);
                        }
                    }));
                    with.keySet().forEach(what -> {
                        Map<Damage, Link.State> states = new EnumMap<>(Damage.class);
                        without.forEach(
                                (damage, all) -> states.put(damage, all.getOrDefault(what, Link.State.NOT_SHOWN)));
                        looks.add(new Look(host, command + ", " + what, path, states));
                    });
                }
            }
        }
        return looks;
    }

    private static boolean isHarmless(Damage damage, String path, String command, HostFiles tree) {
        return switch (damage) {
            // A device that its bus does not list is bound to no driver.
            case REMOVED ->
                isLast(tree, path)
                        || LATER.matcher(path).matches()
                        || command.equals("doctor vfio")
                                && BRIDGES.matcher(path).matches();
            case EMPTY -> path.equals(MAY_BE_EMPTY) || LATER.matcher(path).matches();
            case DENIED, HIDDEN, LOCKED -> false;
        };
    }

    @Test
    void nothingIsInOrderWithoutAFileThatAccusesIt() throws IOException {
        Set<String> mechanisms = new HashSet<>();
        Stream<PlantedFaultsTest.Fault> hosts = PlantedFaultsTest.faults()
                .filter(fault -> !fault.mechanism().equals(MANY) && mechanisms.add(fault.mechanism()));
        List<Look> silent = looks(hosts, AbsenceTest::isFlaw).stream()
                .filter(Look::isInOrder)
                .toList();
        assertThat(silent).isEmpty();
        assertThat(accusations).filteredOn(text -> !FORM.matcher(text).find()).isEmpty();
        assertThat(count).isGreaterThan(FEWEST_LOOKS);
    }

    /** A file that one damage shows to be needed is needed, however it is damaged. */
    @Test
    void nothingIsInOrderWithoutAFileThatItNeeds() throws IOException {
        List<Look> all = looks(
                PlantedFaultsTest.harmless().filter(fault -> fault.changes().isEmpty()), Link.State.WHOLE::equals);
        assertThat(all)
                .filteredOn(look ->
                        OF_ONE_FILE.stream().anyMatch(damage -> look.without().get(damage) == Link.State.NOT_SHOWN))
                .hasSizeGreaterThan(FEWEST_NEEDED)
                .filteredOn(look -> !OPTIONAL.matcher(look.path()).matches())
                .filteredOn(look -> OF_ONE_FILE.stream().anyMatch(look::isInOrder))
                .isEmpty();
        assertThat(accusations).isEmpty();
    }
}
