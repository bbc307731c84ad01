/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.Chain;
import io.kvmirq.diag.Claim;
import io.kvmirq.diag.Evidence;
import io.kvmirq.diag.Hop;
import io.kvmirq.diag.Link;
import io.kvmirq.diag.Remedy;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The vectors of VFIO devices that are armed, a row each. Immutable. Texts may hold names from files.
 *
 * @param rows in the order of devices and vectors
 * @param notes tools that would show the empty cells, a line each
 */
public record Listing(List<Row> rows, List<String> notes) {
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
     */
    public record Row(
            long hostIrq,
            PciAddress device,
            String interrupt,
            Optional<String> guest,
            Optional<Integer> pid,
            List<Long> vcpus,
            Optional<Evidence.Kind> vcpuEvidence,
            List<Long> gsis,
            Optional<String> guestVector,
            Optional<Boolean> posted,
            Optional<Evidence.Kind> postedEvidence,
            Optional<String> why) {}

    /**
     * The vectors of some devices.
     *
     * @param wanted which devices
     */
    public static Listing of(HostFacts host, Predicate<PciAddress> wanted) {
        return of(host, wanted, Optional.empty());
    }

    /**
     * The vectors of some devices, with what was seen of them.
     *
     * @param wanted which devices
     */
    public static Listing of(HostFacts host, Predicate<PciAddress> wanted, LiveChains live) {
        return of(host, wanted, Optional.of(live));
    }

    private static Listing of(HostFacts host, Predicate<PciAddress> wanted, Optional<LiveChains> live) {
        List<Row> rows = new ArrayList<>();
        LinkedHashSet<String> notes = new LinkedHashSet<>();
        TreeSet<PciAddress> addresses = new TreeSet<>();
        host.interrupts().stream()
                .flatMap(all -> all.armed().stream())
                .map(ArmedVector::address)
                .forEach(address -> {
                    if (wanted.test(address)) {
                        addresses.add(address);
                    }
                });
        for (PciAddress address : addresses) {
            Optional<PciDevice> device = host.pci(address);
            if (device.isEmpty()) {
                notes.add(address + " has armed vectors and is not in /sys/bus/pci/devices");
                continue;
            }
            Optional<VmProcess> holder = host.vms().of(address).stream().findFirst();
            for (Chain fromFiles : DeviceChains.of(host, device.get())) {
                Chain chain = live.isPresent() ? live.get().of(fromFiles) : fromFiles;
                if (chain.link(Hop.DEVICE_VECTOR)
                        .filter(link -> link.state() == Link.State.WHOLE)
                        .isPresent()) {
                    rows.add(row(address, chain, holder));
                    notes.addAll(notes(chain, holder.isPresent()));
                }
            }
        }
        return new Listing(rows, List.copyOf(notes));
    }

    private static Row row(PciAddress address, Chain chain, Optional<VmProcess> holder) {
        return new Row(
                numbers(chain, Hop.HOST_IRQ).get(0),
                address,
                chain.interrupt(),
                holder.map(VmProcess::name),
                holder.map(VmProcess::pid),
                numbers(chain, Hop.VCPU),
                chain.link(Hop.VCPU).flatMap(Link::evidence).map(Evidence::kind),
                numbers(chain, Hop.GSI),
                chain.link(Hop.GUEST_VECTOR).flatMap(Link::value),
                chain.posted(),
                chain.postedEvidence().map(Evidence::kind),
                chain.whyNot());
    }

    private static List<Long> numbers(Chain chain, Hop hop) {
        return chain.link(hop).map(Link::numbers).orElse(List.of());
    }

    private static List<String> notes(Chain chain, boolean hasGuest) {
        List<String> notes = new ArrayList<>();
        if (!hasGuest) {
            chain.link(Hop.EVENTFD)
                    .ifPresent(link -> notes.add(
                            "guest: " + link.text() + ": " + link.remedy().orElse("none")));
        } else {
            String hops = Stream.of(Hop.VCPU, Hop.GSI, Hop.GUEST_VECTOR)
                    .filter(hop -> chain.link(hop)
                            .filter(link -> link.state() == Link.State.NOT_SHOWN)
                            .isPresent())
                    .map(Hop::label)
                    .collect(Collectors.joining(", "));
            if (!hops.isEmpty()) {
                notes.add(hops + ": KVM shows no routes: "
                        + Remedy.text(Remedy.BY_VMM).orElse(""));
            }
        }
        if (chain.posted().isEmpty()) {
            chain.claim(Claim.Question.FORM)
                    .ifPresent(claim -> notes.add(
                            "posted: " + claim.text() + ": " + claim.remedy().orElse("none")));
        }
        return notes;
    }
}
