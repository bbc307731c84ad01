/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.VmmCheck;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.Guests.Guest;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The check of guests: whether each device that they have can send interrupts, whether its host irq and its VMM can take
 * them, and whether they are posted if the host can, as {@code explain} shows for each vector; of guests without such a
 * device, whether the VMM and the workers of vhost run.
 */
public final class PathsCheck {
    private static final int MOST_SHOWN = 4;

    /** Flaws, with what explain is asked to show them. */
    private final Map<String, String> broken = new LinkedHashMap<>();

    private final Map<String, String> doubtful = new LinkedHashMap<>();
    private final Map<String, String> unposted = new LinkedHashMap<>();
    private final Set<Remedy> remedies = new LinkedHashSet<>();
    private final List<InterruptPath> all = new ArrayList<>();

    private final KernelPaths memory;

    private PathsCheck(KernelPaths memory) {
        this.memory = memory;
    }

    static Finding paths(HostFacts host) {
        return new PathsCheck(KernelPaths.none()).examine(host);
    }

    /** All paths that the check looks at, and for each guest one with the link of its VMM alone. */
    static List<InterruptPath> all(HostFacts host, KernelPaths memory) {
        PathsCheck check = new PathsCheck(memory);
        check.examine(host);
        return List.copyOf(check.all);
    }

    /** The paths of guests whose VMM or helpers have a flaw; not that of a VMM that is in the path of an armed vector. */
    public static List<InterruptPath> flawedGuests(HostFacts host) {
        return Guests.find(host).all().stream()
                .flatMap(guest ->
                        paths(host, guest, guest.process().devices().stream().allMatch(device -> host.armed(device)
                                        .isEmpty()))
                                .stream())
                .filter(path ->
                        HostScan.flaw(path).isPresent() || HostScan.slowed(path).isPresent())
                .toList();
    }

    private static boolean isAlone(VmProcess process) {
        return process.devices().isEmpty() && process.mayHave().isEmpty();
    }

    /**
     * The paths of a guest and of its helpers.
     *
     * @param alone whether no other path has the link of the VMM: without it, the guest's path is left out
     */
    public static List<InterruptPath> paths(HostFacts host, Guest guest, boolean alone) {
        VmProcess process = guest.process();
        List<InterruptPath> paths = new ArrayList<>();
        if (alone) {
            paths.add(InterruptPath.of(Flaw.Subject.GUEST, process.asGuest(), VmmCheck.run(host, process)));
        }
        paths.add(InterruptPath.of(
                Flaw.Subject.HELPER, process.asGuest(), VmmCheck.ofHelpers(host, process, guest.workers())));
        return paths;
    }

    /** The paths of the guests of some processes, and of their helpers. */
    public static List<InterruptPath> ofGuests(HostFacts host, List<VmProcess> processes) {
        return Guests.find(host).all().stream()
                .filter(guest -> processes.contains(guest.process()))
                .flatMap(guest -> paths(host, guest, true).stream())
                .toList();
    }

    private Finding examine(HostFacts host) {
        int devices = 0;
        int guests = 0;
        List<PciAddress> armed =
                host.armed().stream().map(ArmedVector::address).distinct().toList();
        TreeSet<PciAddress> used = new TreeSet<>(armed);
        host.vms().all().forEach(vm -> {
            used.addAll(vm.devices());
            used.addAll(vm.mayHave());
        });
        host.boundToVfio().stream()
                .filter(address -> host.pci(address)
                        .filter(device -> !host.users(device).isEmpty())
                        .isPresent())
                .forEach(used::add);
        Optional<String> hidden = host.boundToVfio().stream()
                .filter(device -> host.pci(device).isEmpty())
                .findFirst()
                .map(device -> "sysfs shows no ids for " + device + ", which is bound to VFIO");
        Optional<String> unseen = Optional.empty();
        for (PciAddress address : used) {
            if (host.pci(address).isEmpty()) {
                hidden = hidden.or(() -> Optional.of(address)
                        .filter(device -> DeviceChains.gone(host, device).isEmpty())
                        .map(device -> "sysfs does not show device " + device + ", which is in use"));
                continue;
            }
            PciDevice device = host.pci(address).get();
            List<InterruptPath> chains = DeviceChains.read(host, device, memory);
            if (host.users(device).isEmpty()
                    && Verdict.judge(chains, List.of(), List.of()).grade() == Status.PASS
                    && chains.stream()
                            .flatMap(chain -> chain.link(Hop.VMM).stream())
                            .noneMatch(Flaws::isIncomplete)) {
                unseen = unseen.or(() -> unseen(host, address));
                continue; // No guest is seen.
            }
            devices++;
            add(device.address().toString(), device.address().toString(), chains);
        }
        for (Guest guest : Guests.find(host).all()) {
            VmProcess process = guest.process();
            guests += isAlone(process) ? 1 : 0;
            paths(host, guest, isAlone(process))
                    .forEach(path -> add(
                            "--vm " + process.pid(),
                            (path.subject() == Flaw.Subject.HELPER ? "a helper of guest " : "guest ") + process.name(),
                            List.of(path)));
        }
        for (InterruptPath gone : DeviceChains.gone(host)) {
            devices++;
            add(gone.device(), gone.device(), List.of(gone));
        }
        Verdict verdict = Verdict.judge(all, List.of(), List.of());
        boolean whole = verdict.grade() == Status.PASS;
        Optional<Known.Unknown<Boolean>> hiding = host.hidesProcesses();
        if (unseen.isPresent() && whole) {
            return unknown(
                            unseen.get() + hiding.map(why -> "; " + why.why()).orElse(""),
                            hiding.map(Known.Unknown::remedy).orElse(Fact.LOOK_AGAIN))
                    .with("unseen", hiding.stream().map(Known.Unknown::reason).toList());
        }
        if ((devices == 0 || host.sight().namespaced()) && whole && hiding.isPresent()) {
            return Finding.unknown(Check.PATHS, "not-shown", hiding.get());
        }
        if (devices == 0 && !armed.isEmpty() && host.pciAddresses().isEmpty()) {
            return unknown(
                    "VFIO has armed interrupts of " + armed.get(0)
                            + ", but /sys/bus/pci/devices lists no device: it was not copied, or is not mounted",
                    Fact.LOOK_AGAIN);
        }
        if (host.interrupts().isEmpty() && whole) {
            return Finding.unknown(Check.PATHS, "not-shown", host.noInterrupts());
        }
        if (hidden.isPresent() && whole) {
            return unknown(hidden.get(), Fact.LOOK_AGAIN)
                    .with(
                            "unseen",
                            used.stream()
                                    .filter(address -> host.pci(address).isEmpty())
                                    .flatMap(address -> DeviceChains.hidden(host, address).links().stream())
                                    .flatMap(link -> link.unseen().stream())
                                    .distinct()
                                    .toList());
        }
        if (devices + guests == 0 && whole) {
            return Finding.pass(Check.PATHS, "none", "no visible process has a VFIO device open");
        }
        Map<String, String> worst = !broken.isEmpty() ? broken : !doubtful.isEmpty() ? doubtful : unposted;
        String seen = looked(devices, guests) + " checked, and no visible link is broken"
                + (verdict.past() ? "; since boot, and perhaps no longer, " + shown(host, doubtful) : " or doubtful")
                + HostScan.slowedClause(all);
        Finding finding = !whole
                ? Finding.of(
                        Check.PATHS,
                        verdict.grade(),
                        !broken.isEmpty() ? "broken" : !doubtful.isEmpty() ? "doubtful" : "not-posted",
                        shown(host, worst))
                : all.stream()
                        .flatMap(path -> path.links().stream())
                        .filter(Flaws::isIncomplete)
                        .findFirst()
                        .map(link -> unknown(
                                        seen + "; " + link.hop().label() + ": " + link.text(),
                                        link.remedies().get(0).text())
                                .with("unseen", link.unseen()))
                        .orElseGet(() -> Finding.pass(Check.PATHS, verdict.past() ? "past" : "whole", seen));
        return finding.with(remedies.stream().limit(MOST_SHOWN).toList())
                .with("broken", List.copyOf(broken.keySet()))
                .with("doubtful", List.copyOf(doubtful.keySet()))
                .with("notPosted", List.copyOf(unposted.keySet()))
                .withVerdict(verdict);
    }

    /** A program that is not seen has a device open. */
    private static Optional<String> unseen(HostFacts host, PciAddress address) {
        int armed = host.armed(address).size();
        return armed == 0
                ? Optional.empty()
                : Optional.of("VFIO has armed " + armed + (armed == 1 ? " interrupt" : " interrupts") + " of " + address
                        + ", but no visible process has the device open");
    }

    private static Finding unknown(String why, String remedy) {
        return Finding.unknown(Check.PATHS, "not-shown", why, remedy);
    }

    private static String looked(int devices, int guests) {
        String guestDevices = devices == 1 ? "1 guest device" : devices + " guest devices";
        String other = guests == 1 ? "1 guest without a VFIO device" : guests + " guests without a VFIO device";
        return (guests == 0 ? guestDevices : devices == 0 ? other : guestDevices + " and " + other)
                + (devices + guests == 1 ? " was" : " were");
    }

    /** A flaw, and what to do. */
    private record Found(String text, List<Remedy> remedies) {}

    private static Stream<Found> flaws(InterruptPath chain, Link.State state) {
        return chain.links().stream()
                .filter(link -> link.state() == state)
                .map(link -> new Found(
                        " is " + state.label() + " at its " + link.hop().label() + ": " + link.text(),
                        link.remedies()));
    }

    private static Stream<Found> unposted(InterruptPath chain) {
        return chain.unposted().stream()
                .map(claim -> new Found(
                        " is not posted, although this host supports posting: " + claim.text(), claim.remedies()));
    }

    private void add(String target, String subject, List<InterruptPath> chains) {
        all.addAll(chains);
        add(target, subject, chains, chain -> flaws(chain, Link.State.BROKEN), broken);
        add(target, subject, chains, chain -> flaws(chain, Link.State.DOUBTFUL), doubtful);
        add(target, subject, chains, PathsCheck::unposted, unposted);
    }

    /** A flaw of some interrupts of a device is printed with their names, a flaw of all without. */
    private void add(
            String target,
            String subject,
            List<InterruptPath> chains,
            Function<InterruptPath, Stream<Found>> of,
            Map<String, String> flaws) {
        Map<String, List<String>> interrupts = new LinkedHashMap<>();
        for (InterruptPath chain : chains) {
            of.apply(chain).forEach(flaw -> {
                interrupts
                        .computeIfAbsent(flaw.text(), first -> new ArrayList<>())
                        .add(chain.name());
                remedies.addAll(flaw.remedies());
            });
        }
        interrupts.forEach((text, names) -> flaws.put(
                subject + (names.size() == chains.size() ? "" : " " + Finding.some(names, MOST_SHOWN)) + text, target));
    }

    private static String shown(HostFacts host, Map<String, String> flaws) {
        return flaws.keySet().stream().limit(MOST_SHOWN).collect(Collectors.joining("; "))
                + (flaws.size() > MOST_SHOWN ? "; and " + (flaws.size() - MOST_SHOWN) + " more" : "")
                + "; " + host.command("explain " + flaws.values().iterator().next()) + " shows the chain";
    }
}
