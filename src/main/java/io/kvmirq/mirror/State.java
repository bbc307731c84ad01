/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.DeviceName;
import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.mirror.VcpuRun.Stage;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Everything that a mirror knows and predicts. A copy is folded over one event and then never changes again: all that it
 * refers to is immutable.
 */
final class State {
    /** xAPIC ids end below the broadcast. A vCPU with a higher number needs x2APIC mode to be reached. */
    private static final int LAST_XAPIC_ID = 0xfe;

    private final MirrorHost host;
    LongMap<Ends> ends = LongMap.empty();
    /** By GSI. */
    private LongMap<List<Route>> routes = LongMap.empty();
    /** By GSI: the eventfds whose irqfd raises it. */
    private LongMap<LongMap<EventFdId>> listeners = LongMap.empty();
    /** By {@link Verdict#aim}: the eventfds. */
    LongMap<LongMap<EventFdId>> aimed = LongMap.empty();
    /** By vCPU: what is on its list, by eventfd. */
    LongMap<LongMap<PredictedIrq>> lists = LongMap.empty();

    LongMap<VcpuId> vcpus = LongMap.empty();
    LongMap<VcpuRun> runs = LongMap.empty();
    PostingVm vm = new PostingVm(false, false, new Destinations<>(List.of(), false, true, true), Set.of());
    ArmVm arm = ArmVm.EMPTY;
    /** Devices that are in no domain of type UNMANAGED. */
    private Set<DeviceName> outside = Set.of();

    State(MirrorHost host) {
        this.host = host;
    }

    private State(State other) {
        this.host = other.host;
        this.ends = other.ends;
        this.routes = other.routes;
        this.listeners = other.listeners;
        this.aimed = other.aimed;
        this.lists = other.lists;
        this.vcpus = other.vcpus;
        this.runs = other.runs;
        this.vm = other.vm;
        this.arm = other.arm;
        this.outside = other.outside;
    }

    /** The state after some events. This one stays as it is. */
    State after(List<? extends Event> events) {
        State next = new State(this);
        events.forEach(next::fold);
        return next;
    }

    private void fold(Event event) {
        if (event instanceof Event.IrqchipCreated) {
            irqchip();
        } else if (event instanceof Event.ApicIdsWidened) {
            widen();
        } else if (event instanceof Event.VcpuAdded added) {
            vcpus(added.vcpu(), vcpus.with(added.vcpu().number(), added.vcpu()));
        } else if (event instanceof Event.VcpuRemoved removed) {
            runs = runs.without(removed.vcpu().number());
            vcpus(removed.vcpu(), vcpus.without(removed.vcpu().number()));
        } else if (event instanceof Event.RoutesCommitted committed) {
            committed.changed().forEach(this::route);
        } else if (event instanceof Event.ConsumerAdded added) {
            irqchip();
            listen(added.event(), Optional.of(new Consumer(added.gsi(), added.resample())));
        } else if (event instanceof Event.ConsumerRemoved removed) {
            if (at(removed.event())
                    .consumer()
                    .filter(its -> its.gsi().equals(removed.gsi()))
                    .isPresent()) {
                listen(removed.event(), Optional.empty());
            }
        } else if (event instanceof Event.ProducerAdded added) {
            change(added.event(), its -> its.has(added.producer()) ? its : its.with(added.producer()));
        } else if (event instanceof Event.ProducerRemoved removed) {
            change(removed.event(), its -> its.has(removed.producer()) ? its.without(removed.producer()) : its);
        } else if (event instanceof Event.DomainChanged changed) {
            domain(changed.device(), changed.unmanaged());
        } else if (event instanceof Event.Inhibited inhibited) {
            inhibit(inhibited.reasons());
        } else if (event instanceof Event.VcpuLoaded loaded) {
            run(loaded.vcpu(), new VcpuRun(Stage.LOADED, loaded.cpu(), true));
        } else if (event instanceof Event.VcpuPreempted preempted) {
            run(preempted.vcpu(), new VcpuRun(Stage.PREEMPTED, 0, hasDescriptors()));
        } else if (event instanceof Event.VcpuBlocked blocked) {
            run(blocked.vcpu(), new VcpuRun(Stage.BLOCKED, 0, hasDescriptors()));
        } else if (event instanceof Event.ItsAdded added) {
            arm = arm.withIts(ArmVm.doorbell(added.its()));
        } else if (event instanceof Event.EventMapped mapped) {
            ArmVm.Mapping mapping = new ArmVm.Mapping(mapped.lpi(), mapped.vcpu());
            map(mapped.its(), mapped.device(), mapped.event(), mapping);
        } else if (event instanceof Event.EventUnmapped unmapped) {
            map(unmapped.its(), unmapped.device(), unmapped.event(), ArmVm.Mapping.NONE);
        } else if (event instanceof Event.LineForwarded forwarded) {
            change(forwarded.event(), its -> its.with(true));
        } else if (event instanceof Event.LineUnforwarded unforwarded) {
            change(unforwarded.event(), its -> its.with(false));
        }
    }

    private void irqchip() {
        become(new PostingVm(true, vm.apicIds32Bit(), vm.destinations(), vm.inhibits()));
    }

    private void widen() {
        if (!vm.apicIds32Bit()) {
            become(new PostingVm(vm.lapicsInKernel(), true, destinations(true), vm.inhibits()));
        }
    }

    private Destinations<LapicIds> destinations(boolean apicIds32Bit) {
        return new Destinations<>(vcpus.values().stream().map(State::lapic).toList(), apicIds32Bit, true, true);
    }

    private static LapicIds lapic(VcpuId vcpu) {
        return vcpu.number() <= LAST_XAPIC_ID ? LapicIds.flat(vcpu.number(), 0) : LapicIds.x2apic(vcpu.number());
    }

    /** Up to 6.16 the entries do not say that their vCPUs run, until those are loaded again. */
    private void inhibit(Set<InhibitReason> reasons) {
        if (writesOnce() && reasons.isEmpty() && !vm.inhibits().isEmpty()) {
            runs = LongMap.empty();
        }
        become(vm.withInhibits(reasons));
    }

    /** Whether an entry that is written while AVIC is inhibited stays remapped. */
    private boolean writesOnce() {
        return host instanceof MirrorHost.X86 x86
                && x86.host().vendor() == Vendor.AMD
                && x86.avic().equals(Optional.of(AvicKernel.UP_TO_6_16));
    }

    private Ends written(Ends its) {
        return its.obstructed(
                writesOnce() && !vm.inhibits().isEmpty() ? Optional.of(X86Rules.WRITTEN_ONCE) : Optional.empty());
    }

    /** Something that decides of all interrupts. */
    private void become(PostingVm changed) {
        if (!changed.equals(vm)) {
            vm = changed;
            ends.forEach(this::predict);
        }
    }

    private void vcpus(VcpuId one, LongMap<VcpuId> changed) {
        boolean noneKnown = vcpus.isEmpty() || changed.isEmpty();
        if ((changed.get(one.number()) == null) == (vcpus.get(one.number()) == null)) {
            return;
        }
        vcpus = changed;
        vm = new PostingVm(vm.lapicsInKernel(), vm.apicIds32Bit(), destinations(vm.apicIds32Bit()), vm.inhibits());
        if (noneKnown) {
            ends.forEach(this::predict);
        } else {
            predict(aimed.get(one.number()));
            predict(aimed.get(Verdict.ANY));
        }
    }

    private void map(long its, int device, int event, ArmVm.Mapping mapping) {
        if (host instanceof MirrorHost.Arm64 arm64) {
            new ArmSteps(this, arm64).map(its, ArmVm.key(device, event), mapping);
        }
    }

    private void route(Gsi gsi, List<Route> now) {
        List<Route> before = routes.get(gsi.number());
        if (now.equals(before == null ? List.of() : before)) {
            return;
        }
        LongMap<EventFdId> there = listeners.get(gsi.number());
        if (there != null) {
            there.forEach(event -> {
                Ends its = at(event);
                Ends changed =
                        host instanceof MirrorHost.Arm64 arm64 ? new ArmSteps(this, arm64).reroute(its) : written(its);
                ends = ends.with(event.number(), changed);
            });
        }
        routes = now.isEmpty() ? routes.without(gsi.number()) : routes.with(gsi.number(), now);
        predict(there);
    }

    private void domain(DeviceName device, boolean unmanaged) {
        Set<DeviceName> changed = new HashSet<>(outside);
        if (unmanaged ? changed.remove(device) : changed.add(device)) {
            outside = Set.copyOf(changed);
            ends.forEach(this::predict);
        }
    }

    /** On AMD the entries on the vCPU's list follow it. A sleeper that is woken changes nothing before it is loaded. */
    private void run(VcpuId vcpu, VcpuRun run) {
        VcpuRun before = runs.get(vcpu.number());
        if (before != null && before.stage() == Stage.BLOCKED && run.stage() == Stage.PREEMPTED) {
            return;
        }
        runs = runs.with(vcpu.number(), run);
        LongMap<PredictedIrq> list = lists.get(vcpu.number());
        if (list != null && host instanceof MirrorHost.X86 x86) {
            list.forEach(irq -> {
                if (irq.irte().orElse(null) instanceof PredictedIrte.AmdGuest entry) {
                    replace(irq, X86Rules.running(entry, x86.avic(), run));
                }
            });
        }
    }

    private void replace(PredictedIrq irq, PredictedIrte entry) {
        PredictedIrq changed = new PredictedIrq(
                irq.event(),
                irq.producer(),
                irq.consumer(),
                irq.routes(),
                irq.posting(),
                irq.vcpu(),
                Optional.of(entry),
                irq.listRegister(),
                irq.handler());
        Ends its = at(irq.event());
        publish(its.predicted(changed, its.rest(), its.aim()));
    }

    Ends at(EventFdId event) {
        Ends its = ends.get(event.number());
        return its == null ? Ends.none(event) : its;
    }

    private void listen(EventFdId event, Optional<Consumer> consumer) {
        at(event)
                .consumer()
                .ifPresent(old -> listeners = without(listeners, old.gsi().number(), event));
        consumer.ifPresent(its -> listeners = with(listeners, its.gsi().number(), event, event));
        change(event, its -> its.with(consumer));
    }

    private void change(EventFdId event, UnaryOperator<Ends> step) {
        Ends before = at(event);
        Ends now = step.apply(before);
        now = host instanceof MirrorHost.Arm64 arm64 ? new ArmSteps(this, arm64).meet(before, now) : written(now);
        if (!now.isEmpty()) {
            predict(now);
        } else if (!before.isEmpty()) {
            withdraw(event);
            ends = ends.without(event.number());
        }
    }

    private void predict(@Nullable LongMap<EventFdId> events) {
        if (events != null) {
            events.forEach(event -> predict(at(event)));
        }
    }

    void predict(Ends its) {
        Optional<Producer> first = its.producer().or(() -> its.others().stream().findFirst());
        Verdict verdict = verdict(its, first);
        List<PredictedIrq> rest = new ArrayList<>();
        for (Producer other : its.others()) {
            if (!first.equals(Optional.of(other))) {
                rest.add(irq(its, Optional.of(other), verdict(its, Optional.of(other))));
            }
        }
        publish(its.predicted(irq(its, first, verdict), List.copyOf(rest), verdict.aim()));
    }

    List<Route> routes(Ends its) {
        return its.consumer()
                .map(consumer -> routes.get(consumer.gsi().number()))
                .orElse(List.of());
    }

    private PredictedIrq irq(Ends its, Optional<Producer> producer, Verdict verdict) {
        return new PredictedIrq(
                its.event(),
                producer,
                its.consumer(),
                routes(its),
                verdict.posting(),
                verdict.vcpu(),
                verdict.irte(),
                verdict.listRegister(),
                producer.flatMap(one -> handler(its, one)));
    }

    private static Optional<LineHandler> handler(Ends its, Producer producer) {
        boolean line = producer.kind() == Producer.Kind.INTX
                || producer.kind() == Producer.Kind.PLATFORM
                        && (its.direct()
                                || its.consumer().flatMap(Consumer::resample).isPresent());
        return line ? Optional.of(its.direct() ? LineHandler.DIRECT_EOI : LineHandler.AUTO_MASK) : Optional.empty();
    }

    private Verdict verdict(Ends its, Optional<Producer> producer) {
        Verdict verdict = ofHost(its, producer);
        return producer.filter(one -> !one.kind().isMessage())
                .map(one -> verdict.with(line(one.kind())))
                .orElse(verdict);
    }

    /** Concerns any host: VFIO offers messages only. */
    private static Posting line(Producer.Kind kind) {
        return kind == Producer.Kind.INTX
                ? new Posting.NotPosted(
                        "hardware posts messages only, and INTx is a line", "let the guest use MSI or MSI-X")
                : new Posting.NotPosted(
                        "hardware posts messages of PCI devices only, and this is a platform interrupt",
                        "nothing to do: such an interrupt is always delivered by KVM");
    }

    private Verdict ofHost(Ends its, Optional<Producer> producer) {
        if (host instanceof MirrorHost.X86 x86) {
            boolean message = producer.filter(one -> one.kind().isMessage()).isPresent();
            return X86Rules.of(
                    x86,
                    this,
                    its.obstacle(),
                    new PostingIrq(
                            message,
                            its.consumer().isPresent(),
                            !message || producer.equals(its.producer()),
                            routes(its),
                            producer.filter(one -> outside.contains(one.device()))
                                    .isEmpty()));
        }
        if (host instanceof MirrorHost.Arm64 arm64) {
            return ArmRules.of(arm64, arm, its, producer, routes(its));
        }
        return Verdict.of(new Posting.Unknown(((MirrorHost.Unknown) host).reason()));
    }

    /** Moves the eventfd from its old places in the indexes to the new ones, and replaces what is known of it. */
    private void publish(Ends its) {
        withdraw(its.event());
        long number = its.event().number();
        aimed = with(aimed, its.aim(), its.event(), its.event());
        its.irq().ifPresent(irq -> irq.vcpu().ifPresent(vcpu -> lists = with(lists, vcpu.number(), its.event(), irq)));
        ends = ends.with(number, its);
    }

    private void withdraw(EventFdId event) {
        Ends old = ends.get(event.number());
        if (old != null) {
            aimed = without(aimed, old.aim(), event);
            old.irq().flatMap(PredictedIrq::vcpu).ifPresent(vcpu -> lists = without(lists, vcpu.number(), event));
        }
    }

    /** Whether KVM keeps the descriptors of the vCPUs up to date. */
    boolean hasDescriptors() {
        return host instanceof MirrorHost.X86 x86 && x86.host().vendor() == Vendor.INTEL && !lists.isEmpty();
    }

    private static <V> LongMap<LongMap<V>> with(LongMap<LongMap<V>> index, long key, EventFdId event, V value) {
        LongMap<V> there = index.get(key);
        return index.with(key, (there == null ? LongMap.<V>empty() : there).with(event.number(), value));
    }

    private static <V> LongMap<LongMap<V>> without(LongMap<LongMap<V>> index, long key, EventFdId event) {
        LongMap<V> there = index.get(key);
        if (there == null) {
            return index;
        }
        LongMap<V> rest = there.without(event.number());
        return rest.isEmpty() ? index.without(key) : index.with(key, rest);
    }
}
