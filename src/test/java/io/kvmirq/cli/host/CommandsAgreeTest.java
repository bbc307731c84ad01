/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.rules.DeviceRules;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.diag.screens.HostScan;
import io.kvmirq.diag.screens.Listing;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The answers of all commands about each subject of a host: the flaws, each with subject, weight and span. */
class CommandsAgreeTest {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    /** The flaws of broken and doubtful links by the identity of their path. */
    private static Map<String, List<Flaw>> flaws(Stream<InterruptPath> paths) {
        Map<String, List<Flaw>> all = new TreeMap<>();
        paths.forEach(path -> all.put(
                path.subject() + " " + path.guest() + " " + path.device() + " " + path.name(),
                path.links().stream()
                        .filter(Link::isFlawed)
                        .flatMap(link -> link.flaws().stream())
                        .map(flaw -> new Flaw(flaw.rule(), flaw.subject(), flaw.weight(), flaw.span(), ""))
                        .toList()));
        return all;
    }

    private static Stream<InterruptPath> explained(HostFacts host) {
        List<InterruptPath> devices = host.vms().all().stream()
                .flatMap(vm -> Stream.concat(vm.devices().stream(), vm.mayHave().stream()))
                .distinct()
                .flatMap(address -> host.pci(address).stream())
                .flatMap(device -> DeviceChains.read(host, device).stream())
                .toList();
        return Stream.concat(
                devices.stream(),
                PathsCheck.ofGuests(host, host.vms().all()).stream()
                        .filter(path -> path.subject() == Flaw.Subject.HELPER
                                || devices.stream()
                                        .noneMatch(device -> device.guest().equals(path.guest()))));
    }

    private static boolean vfioRefuses(HostFacts host, PciAddress address) {
        return host.pci(address)
                .filter(device -> DeviceRules.link(host, device).state() == Link.State.BROKEN
                        || VfioOutlook.read(host, device).refusals().stream()
                                .anyMatch(refusal -> refusal.cause() != VfioOutlook.Obstacle.IN_USE
                                        && refusal.cause() != VfioOutlook.Obstacle.NO_PERMISSION))
                .isPresent();
    }

    /** The grades of --nagios, if they differ. A check of doctor that lacks a file is unknown, though no path has a flaw. */
    private String grades(PlantedFaultsTest.Fault tree) throws IOException {
        String from = PlantedFaultsTest.apply(PlantedFaultsTest.host(tree.tree()), tree.tree(), tree.changes())
                .archive(temporary)
                .toString();
        Map<String, String> grades = new TreeMap<>();
        for (String command : List.of("explain --all", "list --all", "doctor --check paths")) {
            Cli.Ended ended = Cli.run((command + " --nagios --from " + from).split(" "));
            if (command.startsWith("doctor") && ended.exitCode() == 3) {
                continue;
            }
            grades.put(command, ended.exitCode() + " " + ended.out().strip());
        }
        return grades.values().stream()
                                .map(line -> line.substring(0, 1))
                                .distinct()
                                .count()
                        > 1
                ? grades.toString()
                : "";
    }

    @Test
    void commandsSayTheSameOfEachSubject() throws IOException {
        List<String> contradictions = new ArrayList<>();
        int subjects = 0;
        List<PlantedFaultsTest.Fault> trees = Stream.concat(PlantedFaultsTest.faults(), PlantedFaultsTest.harmless())
                .collect(Collectors.toMap(
                        fault -> fault.mechanism(), fault -> fault, (first, other) -> first, TreeMap::new))
                .values()
                .stream()
                .toList();
        for (PlantedFaultsTest.Fault tree : trees) {
            HostFacts host = new HostFacts(
                    PlantedFaultsTest.apply(PlantedFaultsTest.host(tree.tree()), tree.tree(), tree.changes())
                            .tree());
            Map<String, List<Flaw>> explain = flaws(explained(host));
            Map<String, List<Flaw>> look = flaws(HostScan.run(host, KernelPaths.none()).paths().stream());
            Map<String, List<Flaw>> list = flaws(Stream.concat(
                    Listing.read(host, address -> true).chains().stream(), PathsCheck.flawedGuests(host).stream()));
            for (Map<String, List<Flaw>> other : List.of(look, list)) {
                for (String subject : other.keySet()) {
                    if (explain.containsKey(subject) && !explain.get(subject).equals(other.get(subject))) {
                        contradictions.add(tree + ", " + subject + ": " + explain.get(subject) + other.get(subject));
                    }
                }
            }
            subjects += explain.size();
            List<InterruptPath> paths = explained(host).toList();
            Finding.Status grade = Verdict.judge(paths, List.of(), List.of()).grade();
            Finding doctor = Doctor.examine(host, EnumSet.of(Check.PATHS)).get(0);
            if (!paths.isEmpty() && grade.compareTo(doctor.status()) > 0 && doctor.status() != Finding.Status.UNKNOWN) {
                contradictions.add(tree + ": explain " + grade + ", doctor " + doctor.status());
            }
            boolean refuses = host.boundToVfio().stream().anyMatch(address -> vfioRefuses(host, address));
            Finding vfio = Doctor.examine(host, EnumSet.of(Check.VFIO)).get(0);
            String grades = grades(tree);
            if (!grades.isEmpty()) {
                contradictions.add(tree + ": " + grades);
            }
            if (refuses != (vfio.status() == Finding.Status.FAIL)) {
                contradictions.add(tree + ": vfio refuses " + refuses + ", doctor " + vfio.status());
            }
        }
        assertThat(contradictions).isEmpty();
        assertThat(subjects).isGreaterThan(trees.size());
    }
}
