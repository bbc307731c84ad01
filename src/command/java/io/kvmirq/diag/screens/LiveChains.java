/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.rules.LinkRow;
import io.kvmirq.diag.rules.PostingClaims;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Claim.Question;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SortedSet;
import java.util.stream.Collectors;

/**
 * The chains of a host with the observations of a watch. Actions of KVM in the handler of a host irq are observed: VFIO
 * signals the eventfd there, and an irqfd takes the signal at once. Immutable.
 */
public final class LiveChains {
    private static final String AFTER_HANDLER =
            "live, a kernel worker raised a GSI on the same CPU after handlers of this host irq and no other";

    private final HostFacts host;
    private final Live live;
    private final Optional<Vendor> vendor;
    /** A handler of the host is a thread then, and nothing happens in its interrupt. */
    private final boolean handlersInThreads;
    /** The vectors of all devices of VFIO: any of them may wake a vCPU. */
    private final int armed;
    /** With IPI virtualization (Linux 5.19), vCPUs wake each other by posted interrupts. */
    private final boolean wakesByIpi;

    private LiveChains(HostFacts host, Live live) {
        this.host = host;
        this.live = live;
        this.vendor = host.posting().vendor();
        this.handlersInThreads = host.kvm()
                        .commandLine()
                        .known()
                        .filter(words -> !words.contains("threadirqs"))
                        .isEmpty()
                || host.kvm().isBuilt("PREEMPT_RT").known().orElse(false);
        this.armed = host.armed().size();
        this.wakesByIpi = host.kvm()
                .parameter("kvm_intel", "enable_ipiv")
                .known()
                .filter("Y"::equals)
                .isPresent();
    }

    /** Takes the observations of a host. */
    public static LiveChains of(Live live, HostFacts host) {
        return new LiveChains(host, live);
    }

    /** A chain with the observations of its host irq. Without the advice to watch. */
    public InterruptPath of(InterruptPath chain) {
        InterruptPath watched = observed(chain);
        return watched.with(
                watched.links().stream()
                        .map(link -> link.with(afterWatch(link.remedies())))
                        .toList(),
                watched.claims().stream()
                        .map(claim -> claim.with(afterWatch(claim.remedies())))
                        .toList(),
                watched.remarks());
    }

    /** The remedies that are left after a watch. */
    static List<Remedy> afterWatch(List<Remedy> remedies) {
        return remedies.stream()
                .filter(remedy -> remedy.change() != Remedy.Change.WATCH)
                .toList();
    }

    private InterruptPath observed(InterruptPath chain) {
        return chain.link(Hop.HOST_IRQ)
                .filter(link -> HostScan.isArmed(chain))
                .filter(link -> link.numbers(Hop.HOST_IRQ).size() == 1)
                .map(link -> link.numbers(Hop.HOST_IRQ).get(0).number())
                .filter(live.irqs()::containsKey)
                .map(number -> new Watched(chain, number).path())
                .orElse(chain);
    }

    private static Evidence live(String what) {
        return Evidence.observed("live, " + what);
    }

    private static String listed(SortedSet<Long> numbers) {
        return numbers.stream().map(String::valueOf).collect(Collectors.joining(", "));
    }

    /** A chain whose host irq was watched: its tracepoints as a source, and its claims. */
    private final class Watched implements PathSource {
        private final InterruptPath chain;
        private final int number;
        private final Live.Irq irq;
        private final List<Link> links = new ArrayList<>();
        /** The last request to post that was not withdrawn. */
        private final Optional<Live.Update> requested;

        Watched(InterruptPath chain, int number) {
            this.chain = chain;
            this.number = number;
            this.irq = Objects.requireNonNull(live.irqs().get(number));
            this.requested = irq.update().filter(Live.Update::set);
        }

        private void notShown(String row, Object... values) {
            links.add(LinkRow.of(row, values).unseen());
        }

        @Override
        public boolean isWatch() {
            return true;
        }

        @Override
        public List<Link> links(InterruptPath before) {
            before.link(Hop.HOST_IRQ).ifPresent(this::hostIrq);
            irqfd(before.link(Hop.IRQFD));
            gsi();
            vector();
            vcpu();
            return links;
        }

        InterruptPath path() {
            List<PathSource> sources = new ArrayList<>();
            sources.add(this);
            live.counted().ifPresent(counted -> sources.add(new ProbedLinks(counted, host, number, irq.addressed())));
            InterruptPath merged = PathSource.merge(host, chain, sources);
            return merged.with(
                    merged.links(), chain.claims().stream().map(this::claim).toList(), remarks());
        }

        /** The evidence of an event in the handler, or after it on the same CPU. */
        private Evidence inHandler(String event) {
            return irq.bracketed()
                    ? live(event + " in the handler of host irq " + number)
                    : Evidence.inferred("live, " + event + " followed the start of host irq " + number
                            + "'s handler on its CPU; the handler's end was not recorded because the irq was new");
        }

        // Links

        private void hostIrq(Link before) {
            boolean whole = before.state() == Link.State.WHOLE;
            if (irq.counted().isPresent() && (whole || before.state() == Link.State.NOT_SHOWN)) {
                long came = irq.counted().getAsLong();
                links.add(before.as(
                        before.state(),
                        live("/proc/interrupts"),
                        whole
                                ? LinkRow.text("irq.came", before.text(), came, live.time())
                                : LinkRow.text("irq.came-unseen", came, live.time(), before.text()),
                        before.remedies()));
            }
        }

        private void irqfd(Optional<Link> before) {
            boolean misses = misses();
            if (!irq.messages().isEmpty()
                    || !irq.gsis().isEmpty()
                    || !irq.addressed().isEmpty()
                    || !irq.accepted().isEmpty()) {
                links.add(Shown.irqfds(
                        inHandler(irq.messages().isEmpty() ? LiveWindow.SET_IRQ : LiveWindow.MESSAGE),
                        "taken in the handler",
                        List.of()));
            } else if (irq.workerGsi().isPresent() && irq.handled() > 0) {
                links.add(Shown.irqfds(Evidence.inferred(AFTER_HANDLER), "taken after the handler", List.of()));
            } else if (irq.update().isPresent()
                    && (misses
                            || before.filter(link -> link.state() != Link.State.WHOLE)
                                    .isPresent())) {
                links.add(LinkRow.of("irqfd.joined").seen(live(LiveWindow.UPDATE), "paired"));
            } else if (misses) {
                notShown("irqfd.idle");
            }
        }

        /** Whether KVM certainly took none of the handled interrupts. */
        private boolean misses() {
            return irq.handled() > 0
                    && irq.bracketed()
                    && live.lost() == 0
                    && !handlersInThreads
                    && live.saw(LiveWindow.MESSAGE)
                    && live.saw(LiveWindow.SET_IRQ)
                    && live.count(LiveWindow.SET_IRQ) == 0;
        }

        /** A signal of a GSI is traced before its route is looked up: a message or an interrupt in the handler shows one. */
        private void gsi() {
            boolean isRouted = !irq.messages().isEmpty() || !irq.vectors().isEmpty();
            OptionalLong asked = irq.update().map(Live.Update::gsi).orElse(OptionalLong.empty());
            if (asked.isPresent() && (isRouted || requested.isPresent())) {
                links.add(Shown.gsis(live(LiveWindow.UPDATE), List.of(asked.getAsLong())));
            } else if (!irq.gsis().isEmpty() && isRouted) {
                links.add(Shown.gsis(inHandler(LiveWindow.SET_IRQ), irq.gsis()));
            } else if (!irq.gsis().isEmpty()) {
                withoutRoute(listed(irq.gsis()));
            } else if (asked.isPresent()) {
                withoutRoute(String.valueOf(asked.getAsLong()));
            } else if (irq.workerGsi().isPresent() && irq.handled() > 0) {
                withoutRoute(String.valueOf(irq.workerGsi().getAsLong()));
            } else if (!irq.messages().isEmpty()) {
                notShown("gsi.unnamed");
            }
        }

        private void withoutRoute(String gsi) {
            notShown("gsi.no-route-seen", gsi);
        }

        private void vector() {
            OptionalLong asked = requested.map(Live.Update::vector).orElse(OptionalLong.empty());
            if (irq.vectors().isEmpty()) {
                asked.ifPresent(vector -> links.add(
                        Shown.vectors(live(LiveWindow.UPDATE), List.of(vector), LinkRow.of("guest-vector.requested"))));
            } else if (irq.messages().isEmpty()) {
                links.add(Shown.intids(inHandler(LiveWindow.VGIC), irq.vectors()));
            } else {
                links.add(Shown.messages(inHandler(LiveWindow.MESSAGE), irq.vectors(), irq.messages().stream()));
            }
        }

        private void vcpu() {
            OptionalLong asked = requested.map(Live.Update::vcpu).orElse(OptionalLong.empty());
            if (!irq.accepted().isEmpty()) {
                links.add(LinkRow.of("vcpu.accepted").seen(inHandler(LiveWindow.ACCEPT_POSTED), irq.accepted()));
            } else if (!irq.addressed().isEmpty()) {
                notShown("vcpu.found", listed(irq.addressed()));
            } else if (asked.isPresent()) {
                notShown("vcpu.requested", asked.getAsLong());
            }
        }

        // Claims

        private Claim claim(Claim claim) {
            return switch (claim.question()) {
                case ELIGIBLE -> claim;
                case REQUESTED -> requested(claim);
                case FORM -> claim.never() ? form(claim).byHost() : PostingClaims.unposted(form(claim), vendor);
                case DELIVERED -> delivered(claim);
            };
        }

        private Claim requested(Claim before) {
            if (irq.update().isPresent()) {
                return Claim.of(
                        Question.REQUESTED,
                        requested.isPresent(),
                        live(LiveWindow.UPDATE),
                        LinkRow.text(requested.isPresent() ? "claim.requested" : "claim.withdrew"));
            }
            LinkRow none = LinkRow.of("claim.no-change", live.time());
            return before.holds().isPresent() || !live.saw(LiveWindow.UPDATE)
                    ? before
                    : Claim.unknown(Question.REQUESTED, none.text(), none.remedies());
        }

        private Claim form(Claim before) {
            if (before.holds().isPresent()) {
                return before;
            }
            if (requested.isPresent()) {
                return vendor.equals(Optional.of(Vendor.INTEL))
                        ? Claim.of(
                                Question.FORM,
                                true,
                                Evidence.inferred("live, KVM requested posting, and with VT-d nothing inhibits it"),
                                LinkRow.text("claim.posted"))
                        : before;
            }
            if (irq.update().isPresent()) {
                return remapped(LinkRow.text("claim.withdrew"));
            }
            return vendor.isPresent() && irq.counted().orElse(0) > 0
                    ? remapped("the host handled it " + irq.counted().getAsLong()
                            + " times, and a posted IRTE does not interrupt the host")
                    : before;
        }

        private Claim remapped(String why) {
            return Claim.of(Question.FORM, false, Evidence.inferred("live, " + why), LinkRow.text("claim.remapped"));
        }

        /**
         * A silent host irq alone proves nothing. With a posted entry, and wakeups that only it can have caused, hardware
         * delivered the interrupt.
         */
        private Claim delivered(Claim before) {
            long counted = irq.counted().orElse(0);
            if (counted > 0) {
                return Claim.of(
                        Question.DELIVERED,
                        false,
                        live("/proc/interrupts"),
                        LinkRow.text(
                                irq.update().isPresent() ? "claim.handled-changing" : "claim.handled",
                                counted,
                                live.time()));
            }
            if (before.holds().isPresent()) {
                return before;
            }
            long byLog = live.count(LiveWindow.GA_LOG);
            long wakeups = byLog + live.grew("PIW").orElse(0);
            long certain = wakesByIpi ? byLog : wakeups;
            boolean posted = chain.claim(Question.FORM)
                    .map(this::form)
                    .flatMap(Claim::holds)
                    .orElse(false);
            String silent = LinkRow.text("claim.silent", live.time());
            return posted && certain > 0 && live.irqs().size() == 1 && armed == 1
                    ? Claim.of(
                            Question.DELIVERED,
                            true,
                            Evidence.inferred(
                                    "live, the entry is posted, the host irq is silent, and hardware woke vCPUs "
                                            + certain + " times; VFIO has no other vector on this host"),
                            silent)
                    : Claim.unknown(
                            Question.DELIVERED,
                            wakeups > 0
                                    ? LinkRow.text("claim.silent-woken", silent, wakeups)
                                    : LinkRow.text("claim.silent-unknown", silent),
                            before.remedies());
        }

        private List<String> remarks() {
            List<String> remarks = new ArrayList<>(chain.remarks());
            Optional<Boolean> form = chain.claim(Question.FORM).flatMap(Claim::holds);
            boolean posted = form.orElse(false);
            long counted = irq.counted().orElse(0);
            if (posted && counted > 0) {
                remarks.add(LinkRow.text("remark.posted-and-handled", counted));
            }
            if (live.counted().isPresent() && counted == 0) {
                remarks.add(LinkRow.text(
                        posted
                                ? "remark.posted-past-probes"
                                : form.isEmpty() ? "remark.nothing-seen" : "remark.nothing-sent"));
            }
            return remarks;
        }
    }
}
