/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.PostingClaims;
import io.kvmirq.diag.rules.SourceRules;
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
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SortedSet;
import java.util.stream.Collectors;

/**
 * The chains of a host with the observations of a watch. Actions of KVM in the handler of a host irq are observed: VFIO
 * signals the eventfd there, and an irqfd takes the signal at once. Immutable.
 */
public final class LiveChains {
    private static final String IN_KERNEL = "in the handler of host irq ";
    private static final String AFTER =
            "live, after handlers of this host irq and no other, a worker of the kernel raised a GSI on the same CPU";

    private final HostFacts host;
    private final Live live;
    private final Optional<Vendor> vendor;
    /** A handler of the host is a thread then, and nothing happens in its interrupt. */
    private final boolean handlersInThreads;
    /** The vectors of all devices of VFIO: any of them may wake a vCPU. */
    private final int armed;
    /** With IPI virtualization (Linux 5.19), vCPUs wake each other by posted interrupts. */
    private final boolean wakesByIpi;

    private LiveChains(
            HostFacts host,
            Live live,
            Optional<Vendor> vendor,
            boolean handlersInThreads,
            int armed,
            boolean wakesByIpi) {
        this.host = host;
        this.live = live;
        this.vendor = vendor;
        this.handlersInThreads = handlersInThreads;
        this.armed = armed;
        this.wakesByIpi = wakesByIpi;
    }

    /** Takes the observations of a host. */
    public static LiveChains of(Live live, HostFacts host) {
        boolean inThreads = host.kvm()
                        .commandLine()
                        .known()
                        .filter(words -> !words.contains("threadirqs"))
                        .isEmpty()
                || host.kvm().isBuilt("PREEMPT_RT").known().orElse(false);
        int armed = host.interrupts().map(all -> all.armed().size()).orElse(0);
        boolean byIpi = host.kvm()
                .parameter("kvm_intel", "enable_ipiv")
                .known()
                .filter("Y"::equals)
                .isPresent();
        return new LiveChains(host, live, host.posting().vendor(), inThreads, armed, byIpi);
    }

    /** A chain with the observations of its host irq. Without the advice to watch. */
    public InterruptPath of(InterruptPath chain) {
        InterruptPath watched = observed(chain);
        return new InterruptPath(
                watched.device(),
                watched.interrupt(),
                watched.guest(),
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
                .filter(one -> one.change() != Remedy.Change.WATCH)
                .toList();
    }

    private InterruptPath observed(InterruptPath chain) {
        Optional<Integer> number = chain.link(Hop.HOST_IRQ)
                .filter(link -> chain.link(Hop.DEVICE_VECTOR)
                        .filter(next -> next.state() == Link.State.WHOLE)
                        .isPresent())
                .filter(link -> link.numbers(HostIrq.class).size() == 1)
                .map(link -> link.numbers(HostIrq.class).get(0).number());
        Live.Irq irq = number.map(live.irqs()::get).orElse(null);
        if (irq == null) {
            return chain;
        }
        Map<Hop, Link> links = new EnumMap<>(Hop.class);
        chain.links().forEach(link -> links.put(link.hop(), link));
        links(number.get(), irq, links);
        live.counted().ifPresent(counted -> ProbedLinks.put(counted, host, number.get(), irq.addressed(), links));
        links.replaceAll((hop, link) -> SourceRules.compared(new Fact.Facts(host), chain.link(hop), link));
        List<Link> all = new ArrayList<>();
        for (Link link : links.values()) {
            all.add(link);
            if (link.state() == Link.State.BROKEN) {
                break;
            }
        }
        List<Claim> claims =
                chain.claims().stream().map(claim -> claim(claim, chain, irq)).toList();
        return new InterruptPath(chain.device(), chain.interrupt(), chain.guest(), all, claims, remarks(chain, irq));
    }

    private static Evidence live(String what) {
        return Evidence.observed("live, " + what);
    }

    /** The evidence of an event in the handler, or after it on the same CPU. */
    private static Evidence inHandler(String event, int number, Live.Irq irq) {
        return irq.bracketed()
                ? live(event + " " + IN_KERNEL + number)
                : Evidence.inferred("live, " + event + " followed the begin of the handler of host irq " + number
                        + " on its CPU; the end was not recorded, because the irq was new");
    }

    // Links

    private void links(int number, Live.Irq irq, Map<Hop, Link> links) {
        Link before = links.get(Hop.HOST_IRQ);
        if (before != null
                && irq.counted().isPresent()
                && (before.state() == Link.State.WHOLE || before.state() == Link.State.NOT_SHOWN)) {
            boolean whole = before.state() == Link.State.WHOLE;
            long came = irq.counted().getAsLong();
            links.put(
                    Hop.HOST_IRQ,
                    new Link(
                            Hop.HOST_IRQ,
                            before.state(),
                            Optional.of(live("/proc/interrupts")),
                            before.value(),
                            whole
                                    ? before.text() + ", " + came + " of that in " + live.time()
                                    : came + " in " + live.time() + "; " + before.text(),
                            before.remedies(),
                            before.numbers(),
                            before.flaws()));
        }
        boolean taken = !irq.messages().isEmpty()
                || !irq.gsis().isEmpty()
                || !irq.addressed().isEmpty()
                || !irq.accepted().isEmpty();
        if (taken) {
            String event = irq.messages().isEmpty() ? LiveWindow.SET_IRQ : LiveWindow.MESSAGE;
            links.put(
                    Hop.IRQFD,
                    Link.whole(
                            Hop.IRQFD,
                            inHandler(event, number, irq),
                            "taken in the handler",
                            "KVM raises the interrupt itself, so it is not posted"));
        } else if (irq.workerGsi().isPresent() && irq.handled() > 0) {
            links.put(
                    Hop.IRQFD,
                    Link.whole(
                            Hop.IRQFD,
                            Evidence.inferred(AFTER),
                            "taken after the handler",
                            "KVM raises the interrupt itself, so it is not posted"));
        } else if (misses(irq)) {
            links.put(
                    Hop.IRQFD,
                    Link.notShown(
                            Hop.IRQFD,
                            "KVM took no message and raised no GSI in the handlers: no irqfd has the eventfd, or the VMM"
                                    + " reads it and injects the interrupt itself",
                            GuestRules.BY_VMM));
        }
        gsi(number, irq, links);
        vector(number, irq, links);
        vcpu(number, irq, links);
        boolean asked = irq.update().isPresent();
        if (asked && links.get(Hop.IRQFD) != null && links.get(Hop.IRQFD).state() != Link.State.WHOLE) {
            links.put(
                    Hop.IRQFD,
                    Link.whole(
                            Hop.IRQFD,
                            live(LiveWindow.UPDATE),
                            "paired",
                            "KVM knows the host irq, so an irqfd and VFIO have one eventfd"));
        }
    }

    /** Whether KVM certainly took none of the handled interrupts. */
    private boolean misses(Live.Irq irq) {
        return irq.handled() > 0
                && irq.bracketed()
                && live.lost() == 0
                && !handlersInThreads
                && live.saw(LiveWindow.MESSAGE)
                && live.saw(LiveWindow.SET_IRQ)
                && live.count(LiveWindow.SET_IRQ) == 0;
    }

    /** A signal of a GSI is traced before its route is looked up: a message or an interrupt in the handler shows one. */
    private static void gsi(int number, Live.Irq irq, Map<Hop, Link> links) {
        boolean isRouted = !irq.messages().isEmpty() || !irq.vectors().isEmpty();
        Optional<Live.Update> update = irq.update();
        OptionalLong requested = update.map(Live.Update::gsi).orElse(OptionalLong.empty());
        if (requested.isPresent() && (isRouted || update.get().set())) {
            links.put(
                    Hop.GSI,
                    Link.whole(
                            Hop.GSI, live(LiveWindow.UPDATE), List.of(requested.getAsLong()), "the irqfd raises it"));
        } else if (!irq.gsis().isEmpty() && isRouted) {
            links.put(
                    Hop.GSI,
                    Link.whole(Hop.GSI, inHandler(LiveWindow.SET_IRQ, number, irq), irq.gsis(), "the irqfd raises it"));
        } else if (!irq.gsis().isEmpty() || requested.isPresent()) {
            String gsi = irq.gsis().isEmpty() ? String.valueOf(requested.getAsLong()) : listed(irq.gsis());
            links.put(Hop.GSI, withoutRoute(gsi));
        } else if (irq.workerGsi().isPresent() && irq.handled() > 0) {
            links.put(Hop.GSI, withoutRoute(String.valueOf(irq.workerGsi().getAsLong())));
        } else if (!irq.messages().isEmpty()) {
            links.put(
                    Hop.GSI,
                    Link.notShown(Hop.GSI, "the tracepoint of a message does not name its GSI", GuestRules.BY_VMM));
        }
    }

    private static Link withoutRoute(String gsi) {
        return Link.notShown(
                Hop.GSI, "gsi " + gsi + " was raised, and no event shows a route of it", GuestRules.BY_VMM);
    }

    private static void vector(int number, Live.Irq irq, Map<Hop, Link> links) {
        OptionalLong requested =
                irq.update().filter(Live.Update::set).map(Live.Update::vector).orElse(OptionalLong.empty());
        if (!irq.vectors().isEmpty()) {
            boolean arm = irq.messages().isEmpty();
            links.put(
                    Hop.GUEST_VECTOR,
                    Link.whole(
                            Hop.GUEST_VECTOR,
                            inHandler(arm ? LiveWindow.VGIC : LiveWindow.MESSAGE, number, irq),
                            arm ? "interrupt " + listed(irq.vectors()) : hex(irq.vectors()),
                            arm ? "the VM's GIC has it" : "the message: " + String.join("; ", irq.messages())));
        } else if (requested.isPresent()) {
            links.put(
                    Hop.GUEST_VECTOR,
                    Link.whole(
                            Hop.GUEST_VECTOR,
                            live(LiveWindow.UPDATE),
                            "0x" + Long.toHexString(requested.getAsLong()),
                            "KVM requested posting"));
        }
    }

    private static void vcpu(int number, Live.Irq irq, Map<Hop, Link> links) {
        OptionalLong requested =
                irq.update().filter(Live.Update::set).map(Live.Update::vcpu).orElse(OptionalLong.empty());
        if (!irq.accepted().isEmpty()) {
            links.put(
                    Hop.VCPU,
                    Link.whole(
                            Hop.VCPU,
                            inHandler(LiveWindow.ACCEPT_POSTED, number, irq),
                            irq.accepted(),
                            "its virtual APIC has it"));
        } else if (!irq.addressed().isEmpty()) {
            links.put(
                    Hop.VCPU,
                    Link.notShown(
                            Hop.VCPU,
                            "KVM found vcpu " + listed(irq.addressed())
                                    + " for it, and no event shows that it was accepted there",
                            GuestRules.BY_VMM));
        } else if (requested.isPresent()) {
            links.put(
                    Hop.VCPU,
                    Link.notShown(
                            Hop.VCPU,
                            "KVM requested posting to vcpu " + requested.getAsLong() + ", and no delivery was seen",
                            GuestRules.BY_VMM));
        }
    }

    private static String listed(SortedSet<Long> numbers) {
        return numbers.stream().map(String::valueOf).collect(Collectors.joining(", "));
    }

    private static String hex(SortedSet<Long> numbers) {
        return numbers.stream().map(one -> "0x" + Long.toHexString(one)).collect(Collectors.joining(", "));
    }

    // Claims

    private Claim claim(Claim claim, InterruptPath chain, Live.Irq irq) {
        return switch (claim.question()) {
            case ELIGIBLE -> claim;
            case REQUESTED -> requested(claim, irq);
            case FORM -> claim.never() ? form(claim, irq).byHost() : PostingClaims.unposted(form(claim, irq), vendor);
            case DELIVERED -> delivered(claim, chain, irq);
        };
    }

    private Claim requested(Claim before, Live.Irq irq) {
        if (irq.update().isPresent()) {
            Live.Update update = irq.update().get();
            return Claim.of(
                    Question.REQUESTED,
                    update.set(),
                    live(LiveWindow.UPDATE),
                    update.set() ? "KVM requested posting" : "KVM withdrew its posting request");
        }
        return before.holds().isPresent() || !live.saw(LiveWindow.UPDATE)
                ? before
                : Claim.unknown(
                        Question.REQUESTED,
                        "KVM changed nothing in " + live.time() + ", and its tracepoint shows only changes",
                        GuestRules.byVmmAfter(
                                "let the guest set the interrupt's affinity, or load its driver again, while --live runs"));
    }

    private Claim form(Claim before, Live.Irq irq) {
        if (before.holds().isPresent()) {
            return before;
        }
        Optional<Live.Update> update = irq.update();
        if (update.filter(one -> !one.set()).isPresent()) {
            return Claim.of(
                    Question.FORM,
                    false,
                    Evidence.inferred("live, KVM withdrew its posting request"),
                    "the entry has the remapped form");
        }
        if (update.isPresent()) {
            return vendor.equals(Optional.of(Vendor.INTEL))
                    ? Claim.of(
                            Question.FORM,
                            true,
                            Evidence.inferred("live, KVM requested posting; with VT-d nothing inhibits that"),
                            "the entry has the posted form")
                    : before;
        }
        return vendor.isPresent() && irq.counted().orElse(0) > 0
                ? Claim.of(
                        Question.FORM,
                        false,
                        Evidence.inferred("live, the host handled "
                                + irq.counted().getAsLong() + ", and a posted entry interrupts no host"),
                        "the entry has the remapped form")
                : before;
    }

    /**
     * A silent host irq alone proves nothing. With a posted entry, and wakeups that only it can have caused, hardware
     * delivered the interrupt.
     */
    private Claim delivered(Claim before, InterruptPath chain, Live.Irq irq) {
        long counted = irq.counted().orElse(0);
        if (counted > 0) {
            return Claim.of(
                    Question.DELIVERED,
                    false,
                    live("/proc/interrupts"),
                    "the host handled " + counted + " in " + live.time()
                            + (irq.update().isPresent() ? ", while KVM changed its posting" : ""));
        }
        if (before.holds().isPresent()) {
            return before;
        }
        long wakeups = live.grew("PIW").orElse(0) + live.count(LiveWindow.GA_LOG);
        boolean posted = chain.claim(Question.FORM)
                .map(claim -> form(claim, irq))
                .flatMap(Claim::holds)
                .orElse(false);
        String silent = "the host irq stayed silent for " + live.time();
        long certain = live.count(LiveWindow.GA_LOG)
                + (wakesByIpi ? 0 : live.grew("PIW").orElse(0));
        if (posted && certain > 0 && live.irqs().size() == 1 && armed == 1) {
            return Claim.of(
                    Question.DELIVERED,
                    true,
                    Evidence.inferred("live, the entry is posted, the host irq is silent, and hardware woke vCPUs "
                            + certain + " times; VFIO has no other vector on this host"),
                    silent);
        }
        return Claim.unknown(
                Question.DELIVERED,
                silent + ", which does not show delivery by hardware"
                        + (wakeups > 0 ? "; hardware woke vCPUs of this host " + wakeups + " times" : ""),
                before.remedies());
    }

    private List<String> remarks(InterruptPath chain, Live.Irq irq) {
        List<String> remarks = new ArrayList<>(chain.remarks());
        Optional<Boolean> form = chain.claim(Question.FORM).flatMap(Claim::holds);
        boolean posted = form.orElse(false);
        if (posted && irq.counted().orElse(0) > 0) {
            remarks.add("the host handled " + irq.counted().getAsLong()
                    + " although the entry has the posted form: it changed during the watch");
        }
        if (live.counted().isPresent() && irq.counted().orElse(0) == 0) {
            remarks.add(
                    posted
                            ? "its stages are passed by hardware: a posted interrupt reaches no probe"
                            : "it passed no stage: the device sent nothing, or the mask of its vector holds it"
                                    + (form.isEmpty() ? ", or hardware posts it" : ""));
        }
        return remarks;
    }
}
