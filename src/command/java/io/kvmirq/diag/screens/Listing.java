/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.KernelBug;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The vectors of VFIO devices that are armed, a row each. Immutable. Texts may hold names from files.
 *
 * @param rows broken ones first, then those in doubt, each in the order of devices and vectors
 * @param chains of the rows, in the order of devices and vectors; and those with a flaw of vectors that are not armed
 * @param notes tools that would show the empty cells, a line each
 */
public record Listing(List<Row> rows, List<InterruptPath> chains, List<String> notes) {
    /**
     * A vector.
     *
     * @param hostIrq the number of its host irq
     * @param interrupt the vector, such as {@code MSI-X 3}, or {@code INTx}
     * @param guest the name of the guest, or of its process
     * @param pid the process of the guest
     * @param vcpus the numbers of its vCPUs; none if they are not known
     * @param vcpuEvidence the evidence for the vCPU; empty if it is not known
     * @param gsis the GSIs; none if they are not known
     * @param posted empty if it is not known
     * @param postedEvidence the evidence for it; empty if it is not known
     * @param why the reason why it is not posted
     * @param count the number of times that the host handled it, on all CPUs
     * @param cpus the CPUs that it interrupts, as the kernel lists them; empty if no file shows them
     * @param flaw the first broken link, or else the first in doubt, and the reason
     */
    public record Row(
            HostIrq hostIrq,
            PciAddress device,
            String interrupt,
            Optional<String> guest,
            Optional<Integer> pid,
            List<VcpuId> vcpus,
            Optional<Evidence.Kind> vcpuEvidence,
            List<Gsi> gsis,
            Optional<String> guestVector,
            Optional<Boolean> posted,
            Optional<Evidence.Kind> postedEvidence,
            Optional<String> why,
            long count,
            Optional<String> cpus,
            Optional<String> flaw) {}

    /** The vectors of the wanted devices. */
    public static Listing read(HostFacts host, Predicate<PciAddress> wanted) {
        return read(host, wanted, UnaryOperator.identity(), KernelPaths.none());
    }

    /**
     * The vectors of some devices.
     *
     * @param wanted which devices
     * @param watched adds what was seen of a chain
     * @param memory the memory of the host's kernel
     */
    public static Listing read(
            HostFacts host, Predicate<PciAddress> wanted, UnaryOperator<InterruptPath> watched, KernelPaths memory) {
        List<Map.Entry<Integer, Row>> rows = new ArrayList<>();
        List<InterruptPath> chains = new ArrayList<>();
        LinkedHashSet<String> notes = new LinkedHashSet<>();
        Map<HostIrq, Long> counts = new HashMap<>();
        host.armed().forEach(vector -> counts.put(vector.irq(), vector.count()));
        TreeSet<PciAddress> addresses = Stream.concat(
                        host.armed().stream().map(ArmedVector::address),
                        host.vms().all().stream()
                                .flatMap(vm -> Stream.concat(vm.devices().stream(), vm.mayHave().stream())))
                .filter(wanted)
                .collect(Collectors.toCollection(TreeSet::new));
        for (PciAddress address : addresses) {
            Optional<PciDevice> device = host.pci(address);
            Map<Interrupt, HostIrq> armed = host.armed(address).stream()
                    .collect(Collectors.toMap(
                            vector -> SeenInterrupt.of(vector).id(), ArmedVector::irq, (first, other) -> first));
            if (device.isEmpty()) {
                InterruptPath path =
                        DeviceChains.gone(host, address).orElseGet(() -> DeviceChains.hidden(host, address));
                chains.add(path);
                if (!armed.isEmpty()) {
                    notes.add(address + " has armed vectors; "
                            + path.links().get(0).text());
                }
                continue;
            }
            Optional<VmProcess> holder = host.vms().using(address).stream().findFirst();
            List<InterruptPath> all = DeviceChains.read(host, device.get(), memory).stream()
                    .map(watched)
                    .toList();
            // A flaw of a vector that is not armed may be why it is not.
            all.stream()
                    .filter(chain ->
                            chain.interrupt().filter(armed::containsKey).isEmpty()
                                    && HostScan.flaw(chain).isPresent())
                    .forEach(chains::add);
            all.stream()
                    .filter(chain ->
                            chain.interrupt().filter(armed::containsKey).isPresent())
                    .forEach(chain -> {
                        HostIrq irq = Objects.requireNonNull(
                                armed.get(chain.interrupt().orElseThrow()));
                        chains.add(chain);
                        rows.add(Map.entry(rank(chain), row(host, counts, irq, address, chain, holder)));
                        notes.addAll(notes(chain, holder.isPresent()));
                    });
        }
        rows.sort(Map.Entry.comparingByKey());
        notes.addAll(bugs(host, chains));
        return new Listing(rows.stream().map(Map.Entry::getValue).toList(), chains, List.copyOf(notes));
    }

    /** The kernel's bugs, each with the guests whose vectors it reaches. */
    private static List<String> bugs(HostFacts host, List<InterruptPath> chains) {
        return host.posting().host().stream()
                .flatMap(posting ->
                        KernelBug.affecting(host.stable().orElse(""), Optional.of(posting.vendor())).stream())
                .flatMap(bug -> chains.stream()
                        .filter(chain -> chain.remarks().contains(bug))
                        .map(chain ->
                                chain.guest().map(InterruptPath.Guest::toString).orElse(chain.device()))
                        .distinct()
                        .reduce((names, name) -> names + ", " + name)
                        .map(guests -> "kernel bug, for " + guests + ": " + bug)
                        .stream())
                .toList();
    }

    private static int rank(InterruptPath chain) {
        return chain.firstBroken().isPresent() ? 0 : chain.firstDoubtful().isPresent() ? 1 : 2;
    }

    private static Row row(
            HostFacts host,
            Map<HostIrq, Long> counts,
            HostIrq irq,
            PciAddress address,
            InterruptPath chain,
            Optional<VmProcess> holder) {
        return new Row(
                irq,
                address,
                chain.name(),
                holder.map(VmProcess::name),
                holder.map(VmProcess::pid),
                numbers(chain, Hop.VCPU),
                chain.link(Hop.VCPU).flatMap(Link::evidence).map(Evidence::kind),
                numbers(chain, Hop.GSI),
                chain.link(Hop.GUEST_VECTOR).flatMap(Link::value),
                chain.posted(),
                chain.postedEvidence().map(Evidence::kind),
                chain.whyNot(),
                counts.getOrDefault(irq, 0L),
                host.files()
                        .text("proc/irq/" + irq.number() + "/effective_affinity_list")
                        .map(String::strip)
                        .filter(cpus -> !cpus.isEmpty()),
                HostScan.flaw(chain).map(HostScan::text));
    }

    private static <T> List<T> numbers(InterruptPath chain, Hop<T> hop) {
        return chain.link(hop).map(link -> link.numbers(hop)).orElse(List.of());
    }

    private static List<String> notes(InterruptPath chain, boolean hasGuest) {
        List<String> notes = new ArrayList<>();
        if (!hasGuest) {
            chain.link(Hop.EVENTFD)
                    .ifPresent(link -> notes.add("guest: " + link.text()
                            + Remedy.text(link.remedies()).map("; "::concat).orElse("")));
        } else {
            String hops = Stream.of(Hop.VCPU, Hop.GSI, Hop.GUEST_VECTOR)
                    .filter(hop -> chain.link(hop)
                            .filter(link -> link.state() == Link.State.NOT_SHOWN)
                            .isPresent())
                    .map(Hop::label)
                    .collect(Collectors.joining(", "));
            if (!hops.isEmpty()) {
                notes.add(hops + ": no file shows KVM's routes; "
                        + Remedy.text(GuestRules.BY_VMM).orElse(""));
            }
        }
        if (chain.posted().isEmpty()) {
            chain.claim(Claim.Question.FORM)
                    .ifPresent(claim -> notes.add("posted: " + claim.text()
                            + Remedy.text(claim.remedies()).map("; "::concat).orElse("")));
        }
        return notes;
    }
}
