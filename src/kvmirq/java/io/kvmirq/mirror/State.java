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
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LocalApic;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The facts and predictions of a mirror. Events change it under the mirror's lock; {@link #at} needs no lock. */
final class State {
    private final MirrorHost host;
    private final Map<EventFdId, Ends> ends = new ConcurrentHashMap<>();
    final Runs runs = new Runs();
    private final Map<Gsi, Target> targets = new HashMap<>();
    /** Eventfds by the {@link Verdict#aim} of their verdict. */
    private final Map<Long, Set<EventFdId>> aimed = new HashMap<>();
    /** The number of interrupts that are on a vCPU's list. */
    private int listed;

    final Lapics lapics = new Lapics();
    private PostingVm vm = new PostingVm(false, false, lapics.setUp(false), Set.of());
    /** Null until a logical message needs it. */
    private @Nullable Destinations<LocalApic> bySamples;

    final ArmVm arm = new ArmVm();
    /** Devices that are in no IOMMU domain of type UNMANAGED. */
    private final Set<DeviceName> outside = new HashSet<>();

    /** The messages that are held back. */
    private final Map<Producer, HeldMessage> held = new HashMap<>();

    /** The routes of a GSI, and the eventfds whose irqfds raise it. */
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
    }

    Snapshot snapshot() {
        return new Snapshot(new HashMap<>(ends), runs.copy(), descriptors(), Map.copyOf(held), lapics);
    }

    void fold(Event event) {
        if (event instanceof Event.IrqchipCreated) {
            irqchip();
        } else if (event instanceof Event.ApicIdsWidened) {
            widen();
        } else if (event instanceof Event.BroadcastQuirkDisabled) {
            endQuirk();
        } else if (event instanceof Event.VcpuAdded added) {
            if (lapics.add(added.vcpu())) {
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
            change(added.event(), one -> one.has(added.producer()) ? one : one.with(added.producer()));
        } else if (event instanceof Event.ProducerRemoved removed) {
            change(removed.event(), one -> one.has(removed.producer()) ? one.without(removed.producer()) : one);
        } else if (event instanceof Event.DeliveryChanged changed) {
            Ends before = at(changed.event());
            settle(before, before.with(changed.delivery()));
        } else if (event instanceof Event.DomainChanged changed) {
            domain(changed.device(), changed.unmanaged());
        } else if (event instanceof Event.Inhibited inhibited) {
            inhibit(inhibited.reasons());
        } else if (event instanceof Event.VcpuLoaded loaded) {
            run(loaded.vcpu(), new VcpuRun(new VcpuStage.Loaded(loaded.cpu().number()), true));
        } else if (event instanceof Event.VcpuPreempted preempted) {
            run(preempted.vcpu(), new VcpuRun(new VcpuStage.Preempted(), hasDescriptors()));
        } else if (event instanceof Event.VcpuLeft left) {
            run(left.vcpu(), new VcpuRun(new VcpuStage.Left(), hasDescriptors()));
        } else if (event instanceof Event.VcpuBlocked blocked) {
            run(blocked.vcpu(), new VcpuRun(new VcpuStage.Blocked(), hasDescriptors()));
        } else if (event instanceof Event.VcpuUnseen unseen) {
            unseen(unseen.vcpu());
        } else if (event instanceof Event.VcpuEntered entered) {
            run(entered.vcpu(), new VcpuRun(new VcpuStage.InRun(), false));
        } else if (event instanceof Event.VcpuOutside outside) {
            run(outside.vcpu(), new VcpuRun(new VcpuStage.Left(), false));
        } else if (event instanceof Event.LapicSampled sampled) {
            if (lapics.put(sampled.vcpu(), sampled.sample())) {
                bySamples = null;
                predict(aimedAt(Verdict.LOGICAL));
            }
        } else if (event instanceof Event.ItsAdded added) {
            arm.addIts(ArmVm.doorbell(added.its()));
        } else if (event instanceof Event.EventMapped mapped) {
            ArmVm.Mapping mapping = new ArmVm.Mapping(mapped.lpi(), mapped.vcpu());
            map(mapped.its(), mapped.device(), mapped.event(), mapping);
        } else if (event instanceof Event.EventUnmapped unmapped) {
            map(unmapped.its(), unmapped.device(), unmapped.event(), ArmVm.Mapping.NONE);
        } else if (event instanceof Event.Held message) {
            held.put(message.producer(), message.message());
        } else if (event instanceof Event.Released message) {
            held.remove(message.producer());
        } else if (event instanceof Event.LineForwarded forwarded) {
            change(forwarded.event(), one -> one.with(true));
        } else if (event instanceof Event.LineUnforwarded unforwarded) {
            change(unforwarded.event(), one -> one.with(false));
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

    /** The VM's facts that decide about a message. A logical message is decided only when all LAPICs were sampled. */
    PostingVm vm(boolean logical) {
        if (!logical || !lapics.isSampled()) {
            return vm;
        }
        Destinations<LocalApic> known = bySamples == null ? lapics.sampled(vm.apicIds32Bit()) : bySamples;
        bySamples = known;
        return new PostingVm(vm.lapicsInKernel(), vm.apicIds32Bit(), known, vm.inhibits());
    }

    /** Whether the VM has a message with a logical destination, which needs the ids of LAPICs. */
    boolean hasLogicalMessage() {
        return aimed.containsKey(Verdict.LOGICAL);
    }

    /**
     * Changes the inhibit reasons. Up to Linux 6.16, after an inhibit IsRun of the entries stays 0 until their vCPUs
     * are loaded again.
     */
    private void inhibit(Set<InhibitReason> reasons) {
        if (writesOnce() && reasons.isEmpty() && !vm.inhibits().isEmpty()) {
            runs.endInhibit(lapics.vcpus());
        }
        become(vm.withInhibits(reasons));
    }

    /** Whether an entry that is written while AVIC is inhibited stays remapped. */
    private boolean writesOnce() {
        return host instanceof MirrorHost.X86 x86
                && x86.host().vendor() == Vendor.AMD
                && x86.avic().equals(Optional.of(AvicKernel.UP_TO_6_16));
    }

    /** The ends after KVM has written the entry. On arm64 the obstacle has another meaning, and stays. */
    private Ends written(Ends one) {
        return host instanceof MirrorHost.Arm64
                ? one
                : one.obstructed(
                        writesOnce() && !vm.inhibits().isEmpty()
                                ? Optional.of(X86Rules.WRITTEN_ONCE)
                                : Optional.empty());
    }

    /** Changes a fact of the VM on which all predictions depend. */
    private void become(PostingVm changed) {
        if (!changed.equals(vm)) {
            vm = changed;
            ends.values().forEach(this::predict);
        }
    }

    /**
     * @param all whether the first vCPU was added or the last one removed, which changes whether destinations are known
     */
    private void vcpus(VcpuId one, boolean all) {
        vm = withDestinations(vm.apicIds32Bit());
        if (all) {
            ends.values().forEach(this::predict);
        } else {
            predict(aimedAt(one.number()));
            predict(aimedAt(Verdict.ANY));
            predict(aimedAt(Verdict.LOGICAL));
        }
    }

    private void map(long its, int device, int event, ArmVm.Mapping mapping) {
        if (host instanceof MirrorHost.Arm64 arm64) {
            new ArmSteps(this, arm64).map(its, ArmVm.key(device, event), mapping);
        }
    }

    private void route(Gsi gsi, List<Route> now) {
        Target target = target(gsi);
        if (now.equals(target.routes())) {
            return;
        }
        for (EventFdId event : target.listeners()) {
            Ends one = at(event);
            Ends changed =
                    host instanceof MirrorHost.Arm64 arm64 ? new ArmSteps(this, arm64).reroute(one) : written(one);
            ends.put(event, changed);
        }
        put(gsi, new Target(now, target.listeners()));
        predict(target.listeners());
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
            ends.values().forEach(this::predict);
        }
    }

    /** Records a schedule step of a vCPU. On AMD KVM updates the entries on the vCPU's list. */
    private void run(VcpuId vcpu, VcpuRun run) {
        if (runs.put(vcpu, run)) {
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
            Stream.of(aimedAt(vcpu.number()), aimedAt(Verdict.ANY), aimedAt(Verdict.LOGICAL))
                    .flatMap(Collection::stream)
                    .flatMap(event -> at(event).irq().stream())
                    .filter(irq -> irq.vcpu().equals(Optional.of(vcpu)))
                    .forEach(irq -> {
                        if (irq.irte().orElse(null) instanceof PredictedIrte.AmdGuest entry) {
                            replace(irq, X86Rules.running(entry, x86.avic(), runs.get(vcpu)));
                        }
                    });
        }
    }

    private void replace(PredictedIrq irq, PredictedIrte entry) {
        Ends one = at(irq.event());
        publish(one.predicted(irq.with(entry), one.rest(), one.aim()));
    }

    Ends at(EventFdId event) {
        Ends known = ends.get(event);
        return known == null ? Ends.none(event) : known;
    }

    private void listen(EventFdId event, Optional<Consumer> consumer) {
        at(event)
                .consumer()
                .map(Consumer::gsi)
                .ifPresent(gsi -> put(gsi, target(gsi).without(event)));
        consumer.map(Consumer::gsi).ifPresent(gsi -> put(gsi, target(gsi).with(event)));
        change(event, one -> one.with(consumer));
    }

    private Target target(Gsi gsi) {
        return targets.getOrDefault(gsi, Target.NONE);
    }

    private void change(EventFdId event, UnaryOperator<Ends> step) {
        Ends before = at(event);
        settle(before, written(step.apply(before)));
    }

    private void settle(Ends before, Ends changed) {
        Ends now = host instanceof MirrorHost.Arm64 arm64 ? new ArmSteps(this, arm64).meet(before, changed) : changed;
        if (!now.isEmpty()) {
            predict(now);
        } else if (!before.isEmpty()) {
            int posted = listed;
            withdraw(now.event());
            ends.remove(now.event());
            endPosting(posted);
        }
    }

    /** A copy of the eventfds whose verdict has this destination. */
    List<EventFdId> aimedAt(long aim) {
        return List.copyOf(aimed.getOrDefault(aim, Set.of()));
    }

    private void predict(List<EventFdId> events) {
        events.forEach(event -> predict(at(event)));
    }

    void predict(Ends met) {
        Optional<Producer> first = met.producer().or(() -> met.others().stream().findFirst());
        Verdict verdict = verdict(met, first);
        List<PredictedIrq> rest = new ArrayList<>();
        for (Producer other : met.others()) {
            if (!first.equals(Optional.of(other))) {
                rest.add(irq(met, Optional.of(other), verdict(met, Optional.of(other))));
            }
        }
        publish(met.predicted(irq(met, first, verdict), List.copyOf(rest), verdict.aim()));
    }

    List<Route> routes(Ends met) {
        return met.consumer().map(consumer -> target(consumer.gsi()).routes()).orElse(List.of());
    }

    private PredictedIrq irq(Ends met, Optional<Producer> producer, Verdict verdict) {
        return new PredictedIrq(
                met.event(),
                producer,
                met.consumer(),
                routes(met),
                verdict.posting(),
                verdict.vcpu(),
                verdict.irte(),
                verdict.listRegister(),
                producer.flatMap(one -> handler(met, one)));
    }

    private static Optional<LineHandler> handler(Ends met, Producer producer) {
        boolean line = producer.kind() == Producer.Kind.INTX
                || producer.kind() == Producer.Kind.PLATFORM
                        && (met.direct()
                                || met.consumer().flatMap(Consumer::resample).isPresent());
        return line ? Optional.of(met.direct() ? LineHandler.DIRECT_EOI : LineHandler.AUTO_MASK) : Optional.empty();
    }

    private Verdict verdict(Ends met, Optional<Producer> producer) {
        if (producer.isPresent() && met.delivery() == DeliveryPath.CLOSED) {
            return Verdict.of(new Posting.NotPosted(
                    producer.get().device() + " is closed", "open it again, and forward it again"));
        }
        Verdict verdict = ofHost(met, producer);
        if (met.delivery() == DeliveryPath.MASKED) {
            return verdict.with(new Posting.NotPosted("it is masked", "unmask it"));
        }
        if (met.delivery() == DeliveryPath.USERSPACE) {
            return verdict.with(new Posting.NotPosted("this process injects it", "move it to irqfd"));
        }
        return producer.filter(one -> !one.kind().isMessage())
                .map(one -> verdict.with(line(one.kind())))
                .orElse(verdict);
    }

    /** The prediction for a line, on any host: VFIO registers only messages with irqbypass. */
    private static Posting line(Producer.Kind kind) {
        return kind == Producer.Kind.INTX
                ? new Posting.NotPosted(
                        "hardware posts messages only, and INTx is a line", "let the guest use MSI or MSI-X")
                : new Posting.NotPosted(
                        "hardware posts messages of PCI devices only, and this is a platform interrupt",
                        "nothing to do: such an interrupt is always delivered by KVM");
    }

    private Verdict ofHost(Ends met, Optional<Producer> producer) {
        if (host instanceof MirrorHost.X86 x86) {
            boolean message = producer.filter(one -> one.kind().isMessage()).isPresent();
            return X86Rules.of(
                    x86,
                    this,
                    met.obstacle(),
                    new PostingIrq(
                            message,
                            met.consumer().isPresent(),
                            !message || producer.equals(met.producer()),
                            routes(met),
                            producer.filter(one -> outside.contains(one.device()))
                                    .isEmpty()));
        }
        if (host instanceof MirrorHost.Arm64 arm64) {
            return ArmRules.of(arm64, arm, met, producer, routes(met));
        }
        return Verdict.of(new Posting.Unknown(((MirrorHost.Unknown) host).reason()));
    }

    /** Replaces the stored ends of an eventfd, and moves the eventfd to its new places in the indexes. */
    private void publish(Ends met) {
        int posted = listed;
        withdraw(met.event());
        aimed.computeIfAbsent(met.aim(), aim -> new HashSet<>()).add(met.event());
        listed += met.irq().flatMap(PredictedIrq::vcpu).isPresent() ? 1 : 0;
        ends.put(met.event(), met);
        endPosting(posted);
    }

    private void endPosting(int posted) {
        if (posted > 0 && listed == 0) {
            runs.endPosting();
        }
    }

    private void withdraw(EventFdId event) {
        Ends old = ends.get(event);
        Set<EventFdId> there = old == null ? null : aimed.get(old.aim());
        if (old != null && there != null && there.remove(event)) {
            if (there.isEmpty()) {
                aimed.remove(old.aim());
            }
            listed -= old.irq().flatMap(PredictedIrq::vcpu).isPresent() ? 1 : 0;
        }
    }

    private Optional<ApicvKernel> descriptors() {
        return hasDescriptors()
                ? Optional.of(ApicvKernel.of(((MirrorHost.X86) host).host().kernel()))
                : Optional.empty();
    }

    /** Whether KVM keeps the descriptors of the vCPUs up to date. */
    private boolean hasDescriptors() {
        return host instanceof MirrorHost.X86 x86 && x86.host().vendor() == Vendor.INTEL && listed > 0;
    }
}
