/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.LinkRow;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.trace.ProbeCounts.Accepted;
import io.kvmirq.host.trace.ProbeCounts.Message;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * The links of a host irq that probes show: its eventfd, the irqfds of the eventfd, and KVM's results for the signals.
 * For one use.
 */
final class ProbedLinks implements PathSource {
    private static final String HANDLER = "live, the probe of VFIO's handler";
    private static final String WAKEUP = "live, the probe of irqfd_wakeup";
    private static final String RESULT = "live, the probe of kvm_arch_set_irq_inatomic";
    private static final String QUEUED = "live, the probe of vgic_queue_irq_unlock";
    private static final String RAISED = "live, the probe of kvm_set_irq in a worker";

    private final Stages.Counted counted;
    private final Stages.Signals signals;
    private final HostFacts host;
    private final int irq;
    private final SortedSet<Integer> eventfds;
    private final SortedSet<Long> addressed;
    private final List<Link> links = new ArrayList<>();

    /** @param addressed the vCPUs that a tracepoint named */
    ProbedLinks(Stages.Counted counted, HostFacts host, int irq, SortedSet<Long> addressed) {
        this.counted = counted;
        this.eventfds = counted.eventfds(irq);
        this.signals = counted.signals(eventfds);
        this.host = host;
        this.irq = irq;
        this.addressed = addressed;
    }

    @Override
    public boolean isWatch() {
        return true;
    }

    @Override
    public List<Link> links(InterruptPath before) {
        if (!eventfds.isEmpty()) {
            put(before);
        }
        return links;
    }

    private void put(InterruptPath before) {
        links.add(Shown.eventfds(
                host,
                Evidence.observed(HANDLER),
                eventfds.stream().map(EventFdId::new).toList()));
        if (signals.irqfds().isEmpty()) {
            unconsumed();
            return;
        }
        links.add(Shown.irqfds(Evidence.observed(WAKEUP), signals.vms(), signals.processes()));
        SortedSet<Integer> gsis = signals.gsis();
        Link shown = Shown.gsis(Evidence.observed(WAKEUP), gsis);
        long unrouted = signals.unrouted();
        if (unrouted > 0 && unrouted == signals.count()) {
            links.add(flaw(
                            GuestRules.ROUTE,
                            gsis.stream().map(String::valueOf).collect(Collectors.joining(", ")),
                            counted.arm() ? WAKEUP : RAISED,
                            false)
                    .with(Hop.GSI, shown.numbers(Hop.GSI)));
            return;
        }
        links.add(shown);
        List<Accepted> accepted = signals.accepted();
        if (!counted.arm()) {
            delivery(accepted);
        } else if (!accepted.isEmpty()) {
            links.add(Shown.intids(Evidence.observed(QUEUED), vectors(accepted)));
            vcpu(QUEUED, vcpus(accepted), "vcpu.gic");
        } else if (before.link(Hop.VCPU).isEmpty()) {
            links.add(LinkRow.of("vcpu.gic-unseen").unseen());
        }
    }

    /** Nothing of KVM took the signals of these eventfds. */
    private void unconsumed() {
        boolean isUnread = counted.isUnread(counted.untaken(irq));
        if (counted.counts().missed() > 0) {
            links.add(LinkRow.of("irqfd.missed").unseen());
        } else if (!isUnread && counted.isOpen(eventfds)) {
            links.add(LinkRow.of("irqfd.by-vmm").unseen());
        } else {
            links.add(flaw(GuestRules.UNTAKEN, "", WAKEUP + ", which was not hit", isUnread));
        }
    }

    private Link flaw(Rule.Table<GuestRules.Probed> table, String what, String probe, boolean isUnread) {
        return Flaws.check(new GuestRules.Probed(new Fact.Facts(host), what, probe, isUnread), table)
                .orElseThrow();
    }

    private static SortedSet<Integer> vcpus(List<Accepted> accepted) {
        return accepted.stream().map(Accepted::vcpu).collect(Collectors.toCollection(TreeSet::new));
    }

    private static List<Integer> vectors(List<Accepted> accepted) {
        return accepted.stream().map(Accepted::vector).sorted().toList();
    }

    private void delivery(List<Accepted> accepted) {
        List<Message> messages = signals.messages();
        boolean isRaised = signals.raised(result -> result > 0) > 0 && !accepted.isEmpty();
        if (!messages.isEmpty()) {
            links.add(Shown.messages(
                    Evidence.observed(WAKEUP),
                    messages.stream().map(Message::vector).toList(),
                    messages.stream().map(Message::toString)));
        } else if (isRaised) {
            links.add(Shown.vectors(Evidence.observed(RAISED), vectors(accepted), LinkRow.of("guest-vector.pin")));
        }
        String refusals = signals.refusals();
        if (signals.sent() > 0 && !addressed.isEmpty()) {
            vcpu(RESULT, addressed, "vcpu.lapic");
        } else if (isRaised) {
            vcpu(RAISED, vcpus(accepted), "vcpu.worker");
        } else if (signals.sent() == 0 && !refusals.isEmpty()) {
            links.add(flaw(GuestRules.REFUSED, refusals, RESULT, false));
        }
    }

    private void vcpu(String probe, SortedSet<? extends Number> vcpus, String row) {
        links.add(LinkRow.of(row).seen(Evidence.observed(probe), vcpus));
    }
}
