/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.DeviceName;
import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LocalApic;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.mirror.EntryUpdate.Moment;
import io.kvmirq.mirror.VcpuPlace.Descriptor;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** A mirror's facts and predictions. Events change them under the mirror's lock, but {@link #at} needs no lock. */
final class State {
    private static final Known<ApicvKernel> UNUSED_DESCRIPTOR = new Known.Unknown<>(
            "no device interrupt is posted on this host, and no file shows whether KVM uses IPI virtualization");

    private final MirrorHost host;
    private final Map<EventFdId, EventFdEnds> ends = new ConcurrentHashMap<>();
    final VcpuRuns runs = new VcpuRuns();
    private final Map<Gsi, Target> targets = new HashMap<>();
    /** Eventfds by the {@link Prediction#aim} of their prediction. */
    private final Map<Long, Set<EventFdId>> aimed = new HashMap<>();
    /** Eventfds by the vCPU whose list holds their interrupt. */
    private final Map<VcpuId, Set<EventFdId>> lists = new HashMap<>();
    /** The number of irqfds that irqbypass joins with a producer. */
    private int joined;
    /** A counter that changes with each fact that influences an entry write, except routes. */
    private long facts;
    /** Whether KVM posts device interrupts on this host. */
    final boolean posts;
    /** The host without X2AVIC_EXT. */
    private final PostingHost shortTable;

    final SampledLapics lapics = new SampledLapics();
    private final AvicVcpus avic = new AvicVcpus();
    private PostingVm vm = new PostingVm(false, false, lapics.setUp(false), Set.of());
    /** Reasons that inhibit APIC virtualization on this host, including LAPIC ids. */
    private Set<InhibitReason> inhibits = Set.of();
    /** Whether a vCPU id inhibits AVIC unless the processor has X2AVIC_EXT, which no file shows. */
    private boolean needsLongTable;
    /** Null until a message with a logical destination needs it. */
    private @Nullable Destinations<LocalApic> bySamples;

    final ItsMappings arm = new ItsMappings();
    /** Devices that are not in an IOMMU domain of type UNMANAGED. */
    private final Set<DeviceName> outside = new HashSet<>();

    /** The messages that are held back. */
    private final Map<Producer, HeldMessage> held = new HashMap<>();

    /** A GSI's routes, and the eventfds whose irqfds raise it. */
    private record Target(List<Route> routes, List<EventFdId> listeners) {
        static final Target NONE = new Target(List.of(), List.of());

        Target with(EventFdId event) {
            List<EventFdId> more = new ArrayList<>(without(event).listeners);
            more.add(event);
            return new Target(routes, List.copyOf(more));
        }

        Target without(EventFdId event) {
            List<EventFdId> rest = new ArrayList<>(listeners);
            rest.remove(event);
            return new Target(routes, List.copyOf(rest));
        }
    }

    State(MirrorHost host) {
        this.host = host;
        PostingHost posting = host instanceof MirrorHost.X86 x86 ? x86.host() : PostingHost.of(Vendor.INTEL);
        this.posts = host instanceof MirrorHost.X86 && posting.flaw().isEmpty();
        this.shortTable = posting.without(PostingHost.Feature.X2AVIC_EXT);
    }

    Snapshot snapshot() {
        Optional<Boolean> x2apic = host instanceof MirrorHost.X86 x86 ? x86.x2apic() : Optional.empty();
        return new Snapshot(new HashMap<>(ends), runs.copy(), descriptors(), x2apic, Map.copyOf(held), lapics);
    }

    void fold(Event event) {
        if (event instanceof Event.IrqchipCreated) {
            irqchip();
        } else if (event instanceof Event.ApicIdsWidened) {
            widen();
        } else if (event instanceof Event.BroadcastQuirkDisabled) {
            endQuirk();
        } else if (event instanceof Event.VmCreated) {
            lapics.complete();
            facts++;
            ends.values().forEach(this::predict);
        } else if (event instanceof Event.VcpuAdded added) {
            if (lapics.add(added.vcpu())) {
                avic.add(added.vcpu(), !inhibits.isEmpty());
                vcpus(added.vcpu(), lapics.vcpus().size() == 1);
            }
        } else if (event instanceof Event.VcpuRemoved removed) {
            runs.remove(removed.vcpu());
            if (lapics.remove(removed.vcpu())) {
                vcpus(removed.vcpu(), lapics.vcpus().isEmpty());
            }
        } else if (event instanceof Event.RoutesCommitted committed) {
            committed.changed().forEach(this::route);
        } else if (event instanceof Event.MessagesForwarded batch) {
            for (int i = 0; i < batch.events().size(); i++) {
                batch.of(i).forEach(this::fold);
            }
        } else if (event instanceof Event.ConsumerAdded added) {
            irqchip();
            listen(added.event(), Optional.of(new Consumer(added.gsi(), added.resample())));
        } else if (event instanceof Event.ConsumerRemoved removed) {
            if (at(removed.event())
                    .consumer()
                    .filter(irqfd -> irqfd.gsi().equals(removed.gsi()))
                    .isPresent()) {
                listen(removed.event(), Optional.empty());
            }
        } else if (event instanceof Event.ProducerAdded added) {
            change(
                    added.event(),
                    Moment.VECTOR_ENABLED,
                    met -> met.has(added.producer()) ? met : met.with(added.producer()));
        } else if (event instanceof Event.ProducerRemoved removed) {
            change(
                    removed.event(),
                    Moment.VECTOR_ENABLED,
                    met -> met.has(removed.producer()) ? met.without(removed.producer()) : met);
        } else if (event instanceof Event.DeliveryChanged changed) {
            EventFdEnds before = at(changed.event());
            settle(before, written(before, before.with(changed.delivery()), Moment.IRQFD_ASSIGNED));
        } else if (event instanceof Event.DomainChanged changed) {
            domain(changed.device(), changed.unmanaged());
        } else if (event instanceof Event.Inhibited inhibited) {
            become(vm.withInhibits(inhibited.reasons()));
        } else if (event instanceof Event.GuestEntered entered) {
            avic.enter(entered.vcpu(), !inhibits.isEmpty());
            facts++;
            predictAbout(entered.vcpu());
        } else if (event instanceof Event.VcpuLoaded loaded) {
            run(loaded.vcpu(), new VcpuPlace(new VcpuStage.Loaded(loaded.cpu().number()), Descriptor.UPDATED));
        } else if (event instanceof Event.VcpuPreempted preempted) {
            run(preempted.vcpu(), new VcpuPlace(new VcpuStage.Preempted(), stopped()));
        } else if (event instanceof Event.VcpuLeft left) {
            run(
                    left.vcpu(),
                    new VcpuPlace(new VcpuStage.Left(), leavesDescriptors() ? Descriptor.AS_LOADED : stopped()));
        } else if (event instanceof Event.VcpuBlocked blocked) {
            run(blocked.vcpu(), new VcpuPlace(new VcpuStage.Blocked(), stopped()));
        } else if (event instanceof Event.VcpuUnseen unseen) {
            unseen(unseen.vcpu());
        } else if (event instanceof Event.VcpuEntered entered) {
            run(entered.vcpu(), new VcpuPlace(new VcpuStage.InRun(), Descriptor.UNKNOWN));
        } else if (event instanceof Event.VcpuOutside outside) {
            run(outside.vcpu(), new VcpuPlace(new VcpuStage.Left(), Descriptor.UNKNOWN));
        } else if (event instanceof Event.LapicSampled sampled) {
            if (lapics.put(sampled.vcpu(), sampled.sample())) {
                lapic();
            }
        } else if (event instanceof Event.LapicUnseen unseen) {
            if (lapics.forget(unseen.vcpu())) {
                facts++;
                predict(aimedAt(Prediction.LOGICAL));
            }
        } else if (event instanceof Event.ItsAdded added) {
            arm.addIts(ItsMappings.doorbell(added.its()));
        } else if (event instanceof Event.EventMapped mapped) {
            ItsMappings.Mapping mapping = new ItsMappings.Mapping(mapped.lpi(), mapped.vcpu());
            map(mapped.its(), mapped.device(), mapped.event(), mapping);
        } else if (event instanceof Event.EventUnmapped unmapped) {
            map(unmapped.its(), unmapped.device(), unmapped.event(), ItsMappings.Mapping.NONE);
        } else if (event instanceof Event.Held message) {
            held.put(message.producer(), message.message());
        } else if (event instanceof Event.Released message) {
            held.remove(message.producer());
        } else if (event instanceof Event.LineForwarded forwarded) {
            change(forwarded.event(), Moment.IRQFD_ASSIGNED, met -> met.with(true));
        } else if (event instanceof Event.LineUnforwarded unforwarded) {
            change(unforwarded.event(), Moment.IRQFD_ASSIGNED, met -> met.with(false));
        }
    }

    private void irqchip() {
        become(new PostingVm(true, vm.apicIds32Bit(), vm.destinations(), vm.inhibits()));
    }

    private void widen() {
        if (!vm.apicIds32Bit()) {
            become(withDestinations(true));
        }
    }

    private void endQuirk() {
        if (lapics.endQuirk()) {
            become(withDestinations(vm.apicIds32Bit()));
        }
    }

    private PostingVm withDestinations(boolean apicIds32Bit) {
        bySamples = null;
        return new PostingVm(vm.lapicsInKernel(), apicIds32Bit, lapics.setUp(apicIds32Bit), vm.inhibits());
    }

    /** The VM facts that decide whether a message is posted now. A logical destination needs samples of all LAPICs. */
    PostingVm vm(boolean logical) {
        if (!logical) {
            return vm;
        }
        Destinations<LocalApic> known = bySamples == null ? lapics.sampled(vm.apicIds32Bit()) : bySamples;
        bySamples = known;
        return vm.withDestinations(known);
    }

    /** A counter that changes with each fact that influences an entry write. */
    long facts() {
        return facts;
    }

    /** The reasons that inhibit APIC virtualization now. A vCPU applies a change at its next guest entry. */
    Set<InhibitReason> inhibits() {
        return inhibits;
    }

    boolean needsLongTable() {
        return needsLongTable;
    }

    /** Handles changed LAPIC ids, which affect inhibits and later writes of entries. */
    private void lapic() {
        become(withDestinations(vm.apicIds32Bit()));
    }

    /** Whether the VM has a message with a logical destination, which needs LAPIC ids. */
    boolean hasLogicalMessage() {
        return aimed.containsKey(Prediction.LOGICAL);
    }

    /** Whether an entry that is written while AVIC is inhibited stays remapped. */
    private boolean writesOnce() {
        return host instanceof MirrorHost.X86 x86
                && x86.host().vendor() == Vendor.AMD
                && x86.avic().equals(Optional.of(AvicKernel.UP_TO_6_16));
    }

    /** The value of {@link Written#listed} for an entry that KVM writes now. */
    Optional<Boolean> lists(Written.Decision decision) {
        return writesOnce() ? decision.target().map(Posting.ToVcpu::vcpu).flatMap(avic::isOn) : Optional.of(true);
    }

    /** Whether AVIC is on for a vCPU. Empty if not known. AVIC is always off for an id beyond its table. */
    Optional<Boolean> isAvicOn(VcpuId vcpu) {
        return host instanceof MirrorHost.X86 x86 && vcpu.number() > x86.host().highestAvicId()
                ? Optional.of(false)
                : avic.isOn(vcpu);
    }

    /** A vCPU's place as its entries show it. Null if not known. */
    @Nullable
    VcpuPlace runOfEntries(VcpuId vcpu) {
        VcpuPlace run = runs.get(vcpu);
        boolean hidden = run != null && run.stage() instanceof VcpuStage.Loaded && writesOnce() && !avic.isShown(vcpu);
        return hidden ? null : run;
    }

    /** The ends after a step, with the write of the entry if the step joins them. */
    private EventFdEnds written(EventFdEnds before, EventFdEnds now, Moment moment) {
        if (!(host instanceof MirrorHost.X86 x86)) {
            return now;
        }
        if (!now.isPaired()) {
            return now.written(Optional.empty());
        }
        boolean same = before.isPaired()
                && before.consumer().equals(now.consumer())
                && before.producer().equals(now.producer());
        return same ? now : write(x86, now, moment);
    }

    private EventFdEnds write(MirrorHost.X86 x86, EventFdEnds now, Moment moment) {
        Written.Decision decision = X86Rules.decide(x86, this, irq(now, now.producer()));
        return now.written(Optional.of(new Written(moment, decision, lists(decision), facts)));
    }

    /** Changes a VM fact on which predictions depend, without writing an entry. */
    private void become(PostingVm changed) {
        if (!changed.equals(vm)) {
            set(changed);
            ends.values().forEach(this::predict);
        }
    }

    /** @return whether the inhibits changed, or whether they are known did */
    private boolean set(PostingVm changed) {
        Set<InhibitReason> before = inhibits;
        boolean neededLongTable = needsLongTable;
        vm = changed;
        facts++;
        inhibits = inhibitsNow();
        needsLongTable = !inhibits.contains(InhibitReason.PHYSICAL_ID_TOO_BIG)
                && host instanceof MirrorHost.X86 x86
                && x86.host().vendor() == Vendor.AMD
                && changed.destinations().inhibits(shortTable).contains(InhibitReason.PHYSICAL_ID_TOO_BIG);
        if (before.isEmpty() != inhibits.isEmpty()) {
            avic.change();
        }
        return !before.equals(inhibits) || neededLongTable != needsLongTable;
    }

    private Set<InhibitReason> inhibitsNow() {
        if (!(host instanceof MirrorHost.X86 x86)) {
            return Set.of();
        }
        Set<InhibitReason> all = EnumSet.noneOf(InhibitReason.class);
        all.addAll(vm.inhibits());
        all.addAll(vm.destinations().inhibits(x86.host()));
        all.removeIf(reason -> !reason.counts(x86.host().vendor()));
        return all;
    }

    /**
     * @param all whether the first vCPU was added or the last one removed, which changes whether destinations are known
     */
    private void vcpus(VcpuId vcpu, boolean all) {
        boolean inhibitsChange = set(withDestinations(vm.apicIds32Bit()));
        if (all || inhibitsChange) {
            ends.values().forEach(this::predict);
        } else {
            predictAbout(vcpu);
        }
    }

    private void predictAbout(VcpuId vcpu) {
        predict(aimedAt(vcpu.number()));
        predict(aimedAt(vcpu.number() & ApicMessage.BROADCAST)); // an 8-bit destination can match it too
        predict(aimedAt(Prediction.ANY));
        predict(aimedAt(Prediction.LOGICAL));
    }

    private void map(long its, int device, int event, ItsMappings.Mapping mapping) {
        if (host instanceof MirrorHost.Arm64 arm64) {
            new ArmSteps(this, arm64).map(its, ItsMappings.key(device, event), mapping);
        }
    }

    private void route(Gsi gsi, List<Route> now) {
        Target target = target(gsi);
        if (now.equals(target.routes())) {
            return;
        }
        if (host instanceof MirrorHost.Arm64 arm64) {
            target.listeners().forEach(event -> ends.put(event, new ArmSteps(this, arm64).reroute(at(event))));
        }
        put(gsi, new Target(now, target.listeners()));
        for (EventFdId event : target.listeners()) {
            EventFdEnds met = at(event);
            predict(host instanceof MirrorHost.X86 x86 && met.isPaired() ? write(x86, met, Moment.ROUTE_CHANGED) : met);
        }
    }

    private void put(Gsi gsi, Target target) {
        if (target.equals(Target.NONE)) {
            targets.remove(gsi);
        } else {
            targets.put(gsi, target);
        }
    }

    private void domain(DeviceName device, boolean unmanaged) {
        if (unmanaged ? outside.remove(device) : outside.add(device)) {
            facts++;
            ends.values().forEach(this::predict);
        }
    }

    /** Records a vCPU's schedule step. On AMD, KVM then updates the entries on the vCPU's list. */
    private void run(VcpuId vcpu, VcpuPlace run) {
        VcpuPlace before = runs.get(vcpu);
        if (runs.put(vcpu, run)) {
            if (run.stage() instanceof VcpuStage.Loaded && !run.equals(before)) {
                avic.load(vcpu);
            }
            follow(vcpu);
        }
    }

    private void unseen(VcpuId vcpu) {
        if (runs.forget(vcpu)) {
            follow(vcpu);
        }
    }

    private void follow(VcpuId vcpu) {
        if (host instanceof MirrorHost.X86 x86) {
            List.copyOf(lists.getOrDefault(vcpu, Set.of())).stream()
                    .flatMap(event -> at(event).irq().stream())
                    .forEach(irq -> {
                        if (irq.irte().known().orElse(null) instanceof PredictedIrte.AmdGuest entry) {
                            replace(irq, X86Rules.running(entry, x86.avic(), runOfEntries(vcpu)));
                        }
                    });
        }
    }

    private void replace(PredictedIrq irq, PredictedIrte entry) {
        EventFdEnds met = at(irq.event());
        publish(met.predicted(irq.with(entry), met.rest(), met.aim()));
    }

    EventFdEnds at(EventFdId event) {
        EventFdEnds known = ends.get(event);
        return known == null ? EventFdEnds.none(event) : known;
    }

    private void listen(EventFdId event, Optional<Consumer> consumer) {
        at(event)
                .consumer()
                .map(Consumer::gsi)
                .ifPresent(gsi -> put(gsi, target(gsi).without(event)));
        consumer.map(Consumer::gsi).ifPresent(gsi -> put(gsi, target(gsi).with(event)));
        change(event, Moment.IRQFD_ASSIGNED, met -> met.with(consumer));
    }

    private Target target(Gsi gsi) {
        return targets.getOrDefault(gsi, Target.NONE);
    }

    private void change(EventFdId event, Moment moment, UnaryOperator<EventFdEnds> step) {
        EventFdEnds before = at(event);
        settle(before, written(before, step.apply(before), moment));
    }

    private void settle(EventFdEnds before, EventFdEnds changed) {
        EventFdEnds now =
                host instanceof MirrorHost.Arm64 arm64 ? new ArmSteps(this, arm64).meet(before, changed) : changed;
        boolean was = joined > 0;
        joined += (now.isPaired() ? 1 : 0) - (before.isPaired() ? 1 : 0);
        if (was && joined == 0 && !leavesDescriptors()) {
            runs.endPosting();
        }
        if (!now.isEmpty()) {
            predict(now);
        } else if (!before.isEmpty()) {
            withdraw(now.event());
            ends.remove(now.event());
        }
    }

    /** A copy of the eventfds whose prediction depends on this destination. */
    List<EventFdId> aimedAt(long aim) {
        return List.copyOf(aimed.getOrDefault(aim, Set.of()));
    }

    private void predict(List<EventFdId> events) {
        events.forEach(event -> predict(at(event)));
    }

    void predict(EventFdEnds met) {
        Optional<Producer> first = met.producer().or(() -> met.others().stream().findFirst());
        Prediction verdict = verdict(met, first);
        List<PredictedIrq> rest = new ArrayList<>();
        for (Producer other : met.others()) {
            if (!first.equals(Optional.of(other))) {
                rest.add(irq(met, Optional.of(other), verdict(met, Optional.of(other))));
            }
        }
        publish(met.predicted(irq(met, first, verdict), List.copyOf(rest), verdict.aim()));
    }

    List<Route> routes(EventFdEnds met) {
        return met.consumer().map(consumer -> target(consumer.gsi()).routes()).orElse(List.of());
    }

    private PredictedIrq irq(EventFdEnds met, Optional<Producer> producer, Prediction verdict) {
        return new PredictedIrq(
                met.event(),
                producer,
                met.consumer(),
                routes(met),
                verdict.posting(),
                verdict.vcpu(),
                destination(met),
                verdict.irte(),
                verdict.listRegister(),
                producer.map(source -> handler(met, source)).orElse(Known.none()),
                verdict.update());
    }

    private Known<VcpuId> destination(EventFdEnds met) {
        if (met.consumer().isEmpty() || host instanceof MirrorHost.Arm64) {
            return Known.none();
        }
        return host instanceof MirrorHost.X86 x86
                ? X86Rules.destination(x86, this, routes(met))
                : new Known.Unknown<>(((MirrorHost.Unknown) host).reason());
    }

    private static Known<LineHandler> handler(EventFdEnds met, Producer producer) {
        if (producer.kind().isMessage()) {
            return Known.none();
        }
        boolean level = producer.kind() == Producer.Kind.INTX
                || met.direct()
                || met.consumer().flatMap(Consumer::resample).isPresent();
        return level
                ? new Known.Predicted<>(met.direct() ? LineHandler.DIRECT_EOI : LineHandler.AUTO_MASK)
                : new Known.Unknown<>("without a resample eventfd, a platform interrupt may be edge-triggered");
    }

    private Prediction verdict(EventFdEnds met, Optional<Producer> producer) {
        if (producer.isPresent() && met.delivery() == DeliveryPath.CLOSED) {
            return Prediction.none(new Posting.NotPosted(
                    producer.get().device() + " is closed", "open it again, and forward it again"));
        }
        Prediction verdict = ofHost(met, producer);
        if (met.delivery() == DeliveryPath.MASKED) {
            return verdict.with(new Posting.NotPosted("it is masked", "unmask it"));
        }
        if (met.delivery() == DeliveryPath.USERSPACE) {
            return verdict.with(new Posting.NotPosted("this process injects it", "move it to irqfd"));
        }
        return producer.filter(source -> !source.kind().isMessage())
                .map(source -> verdict.with(line(source.kind())))
                .orElse(verdict);
    }

    /** The prediction for a line on any host, because VFIO registers only messages with irqbypass. */
    private static Posting line(Producer.Kind kind) {
        return kind == Producer.Kind.INTX
                ? new Posting.NotPosted(
                        "only MSIs can be posted, and INTx is a line", "have the guest use MSI or MSI-X")
                : new Posting.NotPosted(
                        "hardware posts only PCI messages, and this is a platform interrupt",
                        "nothing, because KVM always delivers platform interrupts");
    }

    private Prediction ofHost(EventFdEnds met, Optional<Producer> producer) {
        if (host instanceof MirrorHost.X86 x86) {
            return X86Rules.predict(x86, this, met, irq(met, producer));
        }
        if (host instanceof MirrorHost.Arm64 arm64) {
            return ArmRules.predict(arm64, arm, met, producer, routes(met));
        }
        boolean message = met.consumer().isPresent()
                && !(routes(met).size() == 1 && routes(met).get(0) instanceof Route.Pin);
        String reason = ((MirrorHost.Unknown) host).reason();
        return Prediction.unknown(
                reason,
                producer.filter(source -> source.kind().isMessage()).isPresent(),
                met.isPaired() && producer.equals(met.producer()),
                message ? new Known.Unknown<>(reason) : ArmRules.spi(met, routes(met)));
    }

    private PostingIrq irq(EventFdEnds met, Optional<Producer> producer) {
        boolean message = producer.filter(source -> source.kind().isMessage()).isPresent();
        return new PostingIrq(
                message,
                met.consumer().isPresent(),
                !message || producer.equals(met.producer()),
                routes(met),
                producer.filter(source -> outside.contains(source.device())).isEmpty());
    }

    /** Replaces an eventfd's stored ends, and moves the eventfd to its new places in the indexes. */
    private void publish(EventFdEnds met) {
        withdraw(met.event());
        aimed.computeIfAbsent(met.aim(), aim -> new HashSet<>()).add(met.event());
        met.irq().flatMap(irq -> irq.vcpu().known()).ifPresent(vcpu -> lists.computeIfAbsent(
                        vcpu, key -> new HashSet<>())
                .add(met.event()));
        ends.put(met.event(), met);
    }

    private void withdraw(EventFdId event) {
        EventFdEnds old = ends.get(event);
        if (old != null) {
            remove(aimed, old.aim(), event);
            old.irq().flatMap(irq -> irq.vcpu().known()).ifPresent(vcpu -> remove(lists, vcpu, event));
        }
    }

    private static <K> void remove(Map<K, Set<EventFdId>> index, K key, EventFdId event) {
        Set<EventFdId> there = index.get(key);
        if (there != null && there.remove(event) && there.isEmpty()) {
            index.remove(key);
        }
    }

    /** The kernel version whose rules for descriptors apply. None if vCPUs have no descriptor. */
    private Known<ApicvKernel> descriptors() {
        if (host instanceof MirrorHost.Unknown unknown) {
            return new Known.Unknown<>(unknown.reason());
        }
        if (!(host instanceof MirrorHost.X86 x86)
                || x86.host().vendor() == Vendor.AMD
                || x86.host().flaw().equals(Optional.of(PostingObstacle.NO_APIC_VIRTUALIZATION))) {
            return Known.none();
        }
        return posts || x86.ipiv().isPresent()
                ? new Known.Predicted<>(ApicvKernel.of(x86.host().kernel()))
                : UNUSED_DESCRIPTOR;
    }

    /** Whether KVM leaves the descriptor of a vCPU in user space as the load set it, as it does up to Linux 6.16. */
    private boolean leavesDescriptors() {
        return descriptors().known().equals(Optional.of(ApicvKernel.UP_TO_6_16));
    }

    /**
     * The state of a vCPU's descriptor after the vCPU is put. KVM updates it with IPI virtualization, or if the VM has
     * something to post. {@code vmx_needs_pi_wakeup()} in arch/x86/kvm/vmx/posted_intr.c checks whether irqbypass has
     * joined an interrupt of the VM, posted or not, and up to Linux 6.16 also whether KVM-VFIO has a device.
     */
    private Descriptor stopped() {
        Optional<Boolean> ipiv = host instanceof MirrorHost.X86 x86 ? x86.ipiv() : Optional.empty();
        if (joined > 0 && posts || ipiv.orElse(false)) {
            return Descriptor.UPDATED;
        }
        boolean nothingToPost = !posts || descriptors().known().equals(Optional.of(ApicvKernel.FROM_6_17));
        return nothingToPost && ipiv.isPresent() ? Descriptor.AS_LOADED : Descriptor.UNKNOWN;
    }
}
