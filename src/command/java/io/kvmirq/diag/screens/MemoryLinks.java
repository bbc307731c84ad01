/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.MemoryRules;
import io.kvmirq.diag.rules.SourceRules;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.PostedVcpu;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/** The links of a host irq that kernel memory shows: its eventfd, the irqfd of that, and the message of its GSI. */
final class MemoryLinks {
    static final String NO_IRQFD = "no VM has an irqfd of this eventfd: ";
    private static final String MEMORY = "kernel memory, ";
    private static final int VECTOR = 0xff;
    private static final int DELIVERY = 7 << 8;
    private static final int LOWEST_PRIORITY = 1 << 8;
    private static final int NOT_PHYSICAL = 3 << 2;
    private static final int ID_SHIFT = 12;
    private static final int BROADCAST = 0xff;

    private final HostFacts host;
    private final KernelPath path;
    private final Fact.Facts facts;
    private final Map<Hop<?>, Link> links = new TreeMap<>();

    private MemoryLinks(HostFacts host, KernelPath path, List<Link> before) {
        this.host = host;
        this.path = path;
        this.facts = new Fact.Facts(host);
        before.forEach(link -> links.put(link.hop(), link));
    }

    /** The links with what memory shows. A flaw stays: memory shows the same eventfd, and not who reads it. */
    static List<Link> of(HostFacts host, KernelPath path, List<Link> before) {
        MemoryLinks all = new MemoryLinks(host, path, before);
        // The path of the files goes on to it.
        if (all.links.containsKey(Hop.EVENTFD)) {
            all.put();
        }
        List<Link> links = new ArrayList<>();
        for (Link link : all.links.values()) {
            Link flawed = MemoryRules.flawed(all.facts, path, link);
            links.add(flawed);
            // A link that memory alone breaks ends the path; one that files break has what they show behind it.
            if (flawed.state() == Link.State.BROKEN && link.state() != Link.State.BROKEN) {
                break;
            }
        }
        return links;
    }

    private void put() {
        Optional<EventFdId> eventfd = path.eventfd().known().flatMap(one -> one);
        if (eventfd.isEmpty()) {
            return;
        }
        long id = eventfd.get().number();
        put(Link.whole(
                        Hop.EVENTFD,
                        Evidence.observed(MEMORY + "irqaction.dev_id"),
                        "id " + id,
                        "the handler signals it" + ProbedLinks.descriptors(host, id))
                .with(Hop.EVENTFD, List.of(eventfd.get())));
        List<KernelIrqfd> irqfds = path.irqfds().known().orElse(List.of());
        if (path.irqfds().known().isPresent() && irqfds.isEmpty()) {
            put(Link.notShown(
                    Hop.IRQFD,
                    NO_IRQFD
                            + (path.staysPosted()
                                    ? "the entry posts the interrupt past it"
                                    : "the VMM reads it and injects the interrupt itself, or it is lost"),
                    GuestRules.BY_VMM));
        }
        if (irqfds.size() == 1) {
            irqfd(irqfds.get(0));
        }
    }

    private void irqfd(KernelIrqfd irqfd) {
        Optional<ProcessId> owner = owner(irqfd.thread());
        put(Link.whole(
                        Hop.IRQFD,
                        Evidence.observed(MEMORY + "kvm_kernel_irqfd.eventfd"),
                        owner.map(ProcessId::toString).orElse("VM of thread " + irqfd.thread()),
                        raised(irqfd))
                .with(Hop.IRQFD, owner.stream().toList()));
        if (irqfd.routes() == 0) {
            Flaws.of(
                            new GuestRules.Probed(
                                    facts,
                                    String.valueOf(irqfd.gsi().number()),
                                    MEMORY + "kvm_irq_routing_table.map",
                                    false),
                            GuestRules.ROUTE)
                    .ifPresent(link -> links.put(Hop.GSI, link.with(Hop.GSI, List.of(irqfd.gsi()))));
            return;
        }
        put(Link.whole(
                Hop.GSI,
                Evidence.observed(MEMORY + "kvm_kernel_irqfd.gsi"),
                List.of(irqfd.gsi().number()),
                "the irqfd raises it"));
        irqfd.message().filter(message -> !host.isArm()).ifPresent(this::message);
        path.vlpi().ifPresent(this::vlpi);
    }

    private String raised(KernelIrqfd irqfd) {
        if (path.vlpi().isPresent()) {
            return "the device's messages pass it as vLPIs";
        }
        if (irqfd.producer().isPresent()) {
            return "KVM has paired it with the host irq";
        }
        String itself = "KVM raises the interrupt itself";
        if (path.lpi() instanceof Known.Unknown) {
            return itself + ", unless it is a vLPI, which is not shown";
        }
        return host.isArm() ? itself : itself + ": it is paired with no host irq";
    }

    private void vlpi(HostLpi.Vlpi vlpi) {
        put(Link.whole(
                        Hop.GUEST_VECTOR,
                        Evidence.observed(MEMORY + "its_vlpi_map.vintid"),
                        "LPI " + vlpi.id(),
                        "the kernel's copy of the ITS's entry maps the host's LPI to it")
                .with(Hop.GUEST_VECTOR, ProbedLinks.vectors(Stream.of(vlpi.id()))));
        put(Link.whole(
                Hop.VCPU,
                Evidence.observed(MEMORY + "its_vlpi_map.vpe"),
                List.of(vlpi.vcpu().number()),
                "the vLPI is of its vPE"));
    }

    /** The process of a thread that made a VM; empty if it does not hold a VM any more. */
    private Optional<ProcessId> owner(int thread) {
        return host.vms().all().stream()
                .map(VmProcess::pid)
                .filter(pid -> hasThread(host, pid, thread))
                .findFirst()
                .map(ProcessId::new);
    }

    /** Whether a thread belongs to a process. */
    static boolean hasThread(HostFacts host, int pid, int thread) {
        return pid == thread || host.files().list("proc/" + pid + "/task").contains(String.valueOf(thread));
    }

    private void message(MsiMessage message) {
        put(Link.whole(
                        Hop.GUEST_VECTOR,
                        Evidence.observed(MEMORY + "kvm_kernel_irqfd.irq_entry.msi"),
                        "0x" + Integer.toHexString(message.data() & VECTOR),
                        "the message: " + message)
                .with(Hop.GUEST_VECTOR, List.of(new GuestVector(message.data() & VECTOR))));
        long id = message.address() >>> ID_SHIFT & VECTOR;
        boolean toOne = (message.address() & NOT_PHYSICAL) == 0
                && (message.data() & DELIVERY & ~LOWEST_PRIORITY) == 0
                && message.address() >>> Integer.SIZE == 0
                && id != BROADCAST;
        Optional<VcpuId> posted = path.posted().known().flatMap(one -> one).flatMap(PostedVcpu::vcpu);
        if (posted.isPresent()) {
            put(Link.whole(
                    Hop.VCPU,
                    Evidence.observed(MEMORY + "the structures of the VM's vCPUs"),
                    List.of(posted.get().number()),
                    "the entry posts to it"));
        } else if (toOne) {
            put(Link.whole(
                    Hop.VCPU,
                    Evidence.inferred(
                            "the message is to one physical APIC id, and KVM gives a vCPU the id of its number"),
                    List.of(new VcpuId((int) id).number()),
                    "the message is to its LAPIC"));
        }
    }

    private void put(Link link) {
        Link before = links.get(link.hop());
        if (before == null || before.flaws().isEmpty() && before.state() != Link.State.BROKEN) {
            links.put(link.hop(), SourceRules.compared(facts, Optional.ofNullable(before), link));
        }
    }
}
