/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.host.trace.ProbeCounts.Accepted;
import io.kvmirq.host.trace.ProbeCounts.Message;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The links of a host irq that probes show: its eventfd, the irqfds of the eventfd, and KVM's results for the signals.
 */
final class ProbedLinks {
    private static final String HANDLER = "live, the probe of VFIO's handler";
    private static final String WAKEUP = "live, the probe of irqfd_wakeup";
    private static final String RESULT = "live, the probe of kvm_arch_set_irq_inatomic";
    private static final String QUEUED = "live, the probe of vgic_queue_irq_unlock";
    private static final String RAISED = "live, the probe of kvm_set_irq in a worker";

    private final Stages.Counted counted;
    private final Stages.Signals signals;
    private final HostFacts host;
    private final Map<Hop<?>, Link> links;

    private ProbedLinks(Stages.Counted counted, Stages.Signals signals, HostFacts host, Map<Hop<?>, Link> links) {
        this.counted = counted;
        this.signals = signals;
        this.host = host;
        this.links = links;
    }

    /**
     * Replaces the links of a host irq that probes counted.
     *
     * @param addressed the vCPUs that a tracepoint named
     */
    static void put(
            Stages.Counted counted, HostFacts host, int irq, SortedSet<Long> addressed, Map<Hop<?>, Link> links) {
        SortedSet<Integer> eventfds = counted.eventfds(irq);
        if (!eventfds.isEmpty()) {
            new ProbedLinks(counted, counted.signals(eventfds), host, links).put(irq, eventfds, addressed);
        }
    }

    private void put(int irq, SortedSet<Integer> eventfds, SortedSet<Long> addressed) {
        put(Link.whole(
                        Hop.EVENTFD,
                        Evidence.observed(HANDLER),
                        "id " + listed(eventfds.stream().map(String::valueOf)),
                        "the handler signals it" + descriptors(eventfds))
                .with(Hop.EVENTFD, eventfds.stream().map(EventFdId::new).toList()));
        if (signals.irqfds().isEmpty()) {
            unconsumed(irq, eventfds);
            return;
        }
        put(Link.whole(
                        Hop.IRQFD,
                        Evidence.observed(WAKEUP),
                        signals.vms(),
                        "KVM raises the interrupt itself, so it is not posted")
                .with(Hop.IRQFD, signals.processes()));
        SortedSet<Integer> gsis = signals.gsis();
        long unrouted = signals.unrouted();
        if (unrouted > 0 && unrouted == signals.count()) {
            flaw(GuestRules.ROUTE, listed(gsis.stream().map(String::valueOf)), counted.arm() ? WAKEUP : RAISED, false);
            return;
        }
        put(Link.whole(Hop.GSI, Evidence.observed(WAKEUP), gsis, "the irqfd raises it"));
        List<Accepted> accepted = signals.accepted();
        if (!counted.arm()) {
            delivery(addressed, accepted);
        } else if (accepted.isEmpty()) {
            links.putIfAbsent(
                    Hop.VCPU,
                    Link.notShown(Hop.VCPU, "no probe named the vCPU that the VM's GIC chose", GuestRules.BY_VMM));
        } else {
            vector(
                    QUEUED,
                    "interrupt "
                            + listed(accepted.stream()
                                    .map(Accepted::vector)
                                    .sorted()
                                    .map(String::valueOf)),
                    accepted.stream().map(Accepted::vector),
                    "the VM's GIC has it");
            vcpu(QUEUED, vcpus(accepted), "its target in the VM's GIC, which keeps it pending while it is disabled");
        }
    }

    /** Nothing of KVM took the signals of these eventfds. */
    private void unconsumed(int irq, SortedSet<Integer> eventfds) {
        boolean isUnread = counted.isUnread(counted.untaken(irq));
        if (counted.counts().missed() > 0) {
            put(Link.notShown(Hop.IRQFD, "no irqfd was counted, but a probe missed events", "watch again"));
        } else if (!isUnread && counted.isOpen(eventfds)) {
            put(Link.notShown(
                    Hop.IRQFD,
                    "no irqfd took its signals, and the VMM reads them: it may inject the interrupt itself",
                    GuestRules.BY_VMM));
        } else {
            flaw(GuestRules.UNTAKEN, "", WAKEUP + ", which was not passed", isUnread);
        }
    }

    private void flaw(Rule.Table<GuestRules.Probed> table, String what, String probe, boolean isUnread) {
        put(Flaws.of(new GuestRules.Probed(new Fact.Facts(host), what, probe, isUnread), table)
                .orElseThrow());
    }

    private static SortedSet<Integer> vcpus(List<Accepted> accepted) {
        return accepted.stream().map(Accepted::vcpu).collect(Collectors.toCollection(TreeSet::new));
    }

    private void delivery(SortedSet<Long> addressed, List<Accepted> accepted) {
        List<Message> messages = signals.messages();
        boolean isRaised = signals.raised(result -> result > 0) > 0 && !accepted.isEmpty();
        if (!messages.isEmpty()) {
            vector(
                    WAKEUP,
                    hex(messages.stream().map(Message::vector)),
                    messages.stream().map(Message::vector),
                    "the message: " + messages.stream().map(Message::toString).collect(Collectors.joining("; ")));
        } else if (isRaised) {
            vector(
                    RAISED,
                    hex(accepted.stream().map(Accepted::vector).sorted()),
                    accepted.stream().map(Accepted::vector),
                    "the vector of the pin");
        }
        String refusals = signals.refusals();
        if (signals.sent() > 0 && !addressed.isEmpty()) {
            vcpu(RESULT, addressed, "KVM gave it to the LAPIC");
        } else if (isRaised) {
            vcpu(RAISED, vcpus(accepted), "a worker gave it to this LAPIC, and perhaps to others");
        } else if (signals.sent() == 0 && !refusals.isEmpty()) {
            flaw(GuestRules.REFUSED, refusals, RESULT, false);
        }
    }

    private void vector(String probe, String value, Stream<Integer> vectors, String text) {
        put(Link.whole(Hop.GUEST_VECTOR, Evidence.observed(probe), value, text)
                .with(Hop.GUEST_VECTOR, vectors(vectors)));
    }

    /** The vectors of events; none if a number is out of range. */
    static List<GuestVector> vectors(Stream<? extends Number> numbers) {
        List<Long> all = numbers.map(Number::longValue).distinct().sorted().toList();
        return all.stream().allMatch(number -> number >= 0 && number <= Integer.MAX_VALUE)
                ? all.stream().map(number -> new GuestVector(number.intValue())).toList()
                : List.of();
    }

    private void vcpu(String probe, SortedSet<? extends Number> vcpus, String text) {
        put(Link.whole(Hop.VCPU, Evidence.observed(probe), vcpus, text));
    }

    private void put(Link link) {
        links.put(link.hop(), link);
    }

    private String descriptors(SortedSet<Integer> eventfds) {
        return eventfds.stream().map(id -> descriptors(host, id)).collect(Collectors.joining());
    }

    /** The descriptors of an eventfd in the processes of VMs, as a clause; fdinfo has the same id. */
    static String descriptors(HostFacts host, long eventfd) {
        StringBuilder text = new StringBuilder();
        for (VmProcess vm : host.vms().all()) {
            for (EventfdFile file : vm.eventfds()) {
                if (file.id().isPresent() && file.id().getAsInt() == eventfd) {
                    text.append("; descriptor ")
                            .append(file.fd())
                            .append(" of process ")
                            .append(vm.pid());
                }
            }
        }
        return text.toString();
    }

    private static String hex(Stream<Integer> numbers) {
        return listed(numbers.map(one -> "0x" + Integer.toHexString(one)));
    }

    private static String listed(Stream<String> names) {
        return names.distinct().collect(Collectors.joining(", "));
    }
}
