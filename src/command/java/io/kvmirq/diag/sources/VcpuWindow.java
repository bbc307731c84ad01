/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.TraceReader;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.mirror.EntryUpdate;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Producer;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;

/**
 * The vCPUs of a guest are watched from {@link #of} to {@link #end}. One instance records the tracepoints of their
 * threads. Another records KVM's events for any VM, which threads of the IOMMU, workers and other threads of the VMM
 * cause. Both have one clock.
 */
public final class VcpuWindow extends Watch {
    private static final String NO_THREAD =
            "no file shows the thread that runs it: debugfs does (kvm/TID-FD/vcpuN/pid)";

    private final VmProcess guest;
    private final Map<Integer, VcpuId> vcpus;
    private final Map<Integer, Optional<ThreadStat>> before = new HashMap<>();
    private final Set<Integer> threads;
    private final Map<Integer, Producer> producers;
    private final Known<Tracing> noSchedule;
    private Optional<Tracing> schedule = Optional.empty();
    private Optional<Tracing> ofVm = Optional.empty();
    private final VcpuEvents events;
    private final boolean isAmd;
    private final Optional<Set<Integer>> elsewhere;
    private boolean records;
    private volatile boolean lostOfVm;
    private boolean wholeSchedule;
    private long begin;

    private VcpuWindow(LiveHost machine, HostFacts host, VmProcess guest) {
        super(machine);
        this.guest = guest;
        this.vcpus = guest.vms().size() == 1 ? VcpuThreads.vcpus(machine.files(), host, guest) : Map.of();
        this.events = new VcpuEvents(vcpus.keySet());
        this.isAmd = host.posting().vendor().equals(Optional.of(Vendor.AMD));
        this.elsewhere = VcpuThreads.elsewhere(machine.files(), host, guest);
        this.threads = new HashSet<>(VcpuThreads.all(machine.files(), guest));
        this.producers = new HashMap<>(VcpuThreads.producers(host, guest));
        this.noSchedule = guest.vms().size() == 1
                ? new Known.Unknown<>(NO_THREAD, host.forDebugfs(Guests.NAMES))
                : new Known.Unknown<>(
                        "the process has " + guest.vms().size() + " VMs, whose vCPUs have the same numbers",
                        "a VMM with one VM in a process");
    }

    /**
     * Begins.
     *
     * @param host as it was just before
     */
    public static VcpuWindow of(LiveHost machine, HostFacts host, VmProcess guest) {
        VcpuWindow window = new VcpuWindow(machine, host, guest);
        boolean begun = false;
        try {
            window.record();
            window.vcpus.keySet().forEach(tid -> window.before.put(tid, VcpuThreads.stat(machine.files(), guest, tid)));
            window.begin = machine.nanos();
            begun = true;
        } finally {
            if (!begun) {
                window.close();
            }
        }
        return window;
    }

    private void record() {
        schedule = open(vcpus.isEmpty() ? noSchedule : machine.tracing(vcpus.keySet()));
        schedule.ifPresent(own -> {
            new TreeMap<>(VcpuSchedule.EVENTS).forEach((event, filter) -> choose(own, event, filter));
            if (isAmd) {
                choose(own, "kvm/" + VcpuEvents.ENTRY, "");
            }
            records = start(own, sink(events::lost))
                    && formats.keySet().containsAll(List.of(VcpuSchedule.SWITCH, VcpuSchedule.FPU));
        });
        ofVm = open(machine.tracing());
        ofVm.ifPresent(own -> {
            choose(own, "kvm/" + VcpuEvents.INHIBIT, "");
            choose(own, "kvm/" + VcpuEvents.UPDATE, "");
            if (isAmd) {
                choose(own, "kvm/" + VcpuEvents.GA_LOG, "");
            }
            start(own, sink(() -> {
                lostOfVm = true;
                events.lostOfVm();
            }));
        });
        reader.start();
    }

    private TraceReader.Sink sink(Runnable lost) {
        return new TraceReader.Sink() {
            @Override
            public void event(TraceEvent event) {
                events.event(event);
            }

            @Override
            public void lost() {
                lost.run();
            }
        };
    }

    /**
     * Ends it, and closes it.
     *
     * @param after the host, not read until now
     */
    public Vcpus end(HostFacts after) {
        Duration watched = Duration.ofNanos(machine.nanos() - begin);
        // Later changes of a thread pass a tracepoint.
        Map<Integer, Optional<ThreadStat>> last = new HashMap<>();
        vcpus.keySet().forEach(tid -> last.put(tid, VcpuThreads.stat(machine.files(), guest, tid)));
        // The schedule ends first, so KVM's events for the VM cover all of it.
        Optional<Tracing.Lost> switches = stop(schedule);
        Optional<Tracing.Lost> changes = stop(ofVm);
        readToEnd();
        close();
        wholeSchedule = switches.isPresent() && switches.get().total() == 0;
        if (switches.isEmpty() || switches.get().missing() > 0) {
            events.lost();
        }
        if (lostOfVm || changes.isPresent() && changes.get().missing() > 0) {
            events.lostOfVm();
            missing.add(new Known.Unknown<>(
                    "some changes of KVM are not in the record, and older ones are not believed",
                    "watch for a shorter time"));
        }
        HostFiles files = machine.files();
        threads.addAll(VcpuThreads.all(files, guest));
        producers.putAll(VcpuThreads.producers(after, guest));
        Map<Integer, Integer> apicIds = VcpuThreads.apicIds(files);
        Mirror mirror = Mirror.of(new PostingFacts(files).forMirror(after.isArm()));
        mirror.apply(new Event.IrqchipCreated(after.isArm() ? Event.Irqchip.VGIC : Event.Irqchip.FULL));
        vcpus.values().forEach(vcpu -> mirror.apply(new Event.VcpuAdded(vcpu)));
        boolean hasVm = after.vms().all().stream()
                .anyMatch(one -> one.pid() == guest.pid() && one.vms().equals(guest.vms()));
        vcpus.keySet()
                .forEach(tid -> events.ended(
                        tid,
                        records ? before.getOrDefault(tid, Optional.empty()) : Optional.empty(),
                        last.getOrDefault(tid, Optional.empty()),
                        hasVm));
        // Other VMs may have come and gone.
        Optional<Set<Integer>> others = elsewhere.flatMap(
                before -> VcpuThreads.elsewhere(files, after, guest).map(now -> {
                    Set<Integer> all = new HashSet<>(before);
                    all.addAll(now);
                    return all;
                }));
        mirror.apply(events.taken(new VcpuEvents.Known(
                vcpus, threads, producers, apicIds, others, VcpuThreads.areLoggedById(files, after, guest))));
        return new Vcpus(
                guest.name() + " (process " + guest.pid() + ")",
                Optional.of(watched),
                views(mirror.now(), after, apicIds),
                switches.orElse(NONE).total() + changes.orElse(NONE).total(),
                events.unassignable(),
                missing,
                notes);
    }

    private List<Vcpus.One> views(Snapshot mirror, HostFacts host, Map<Integer, Integer> apicIds) {
        Map<Integer, Integer> tids = new TreeMap<>();
        guest.vcpus().stream()
                .map(VmProcess.VcpuFile::id)
                .filter(id -> id <= VcpuId.MAX)
                .forEach(id -> tids.put(id, -1));
        vcpus.forEach((tid, vcpu) -> tids.put(vcpu.number(), tid));
        List<Vcpus.One> views = new ArrayList<>();
        tids.forEach((number, tid) -> {
            VcpuId vcpu = new VcpuId(number);
            VcpuSchedule.Phase phase = tid < 0
                    ? new VcpuSchedule.Phase.Unknown(NO_THREAD)
                    : events.schedule().phase(tid);
            views.add(new Vcpus.One(
                    vcpu,
                    tid < 0 ? OptionalInt.empty() : OptionalInt.of(tid),
                    VcpuFields.of(
                            vcpu,
                            phase,
                            counts(events.schedule(), tid),
                            host.posting().vendor(),
                            apicIds,
                            mirror,
                            events.inhibitsKnown(),
                            events.gaTag(vcpu)),
                    irqs(vcpu, events.updates(), mirror)));
        });
        return views;
    }

    private Optional<String> counts(VcpuSchedule schedule, int tid) {
        return tid < 0 || !records
                ? Optional.empty()
                : Optional.of((wholeSchedule ? "" : "at least ") + "KVM_RUN entered: " + schedule.runs(tid)
                        + ", halts ended: " + schedule.halts(tid));
    }

    /** @param updates as {@link VcpuEvents#updates} */
    static List<Vcpus.Irq> irqs(VcpuId vcpu, Map<Integer, VcpuEvents.Update> updates, Snapshot mirror) {
        List<Vcpus.Irq> irqs = new ArrayList<>();
        updates.forEach((irq, update) -> {
            if (update.vcpu().equals(vcpu)) {
                irqs.add(new Vcpus.Irq(
                        update.producer() + " (host irq " + irq + ", gsi " + update.gsi() + ", vector 0x"
                                + Integer.toHexString(update.vector()) + ")",
                        Evidence.observed(VcpuEvents.UPDATE),
                        mirror.of(VcpuEvents.standIn(irq))
                                .map(VcpuWindow::later)
                                .orElse(List.of())));
            }
        });
        return irqs;
    }

    private static List<String> later(PredictedIrq irq) {
        return irq.update()
                .flatMap(EntryUpdate::next)
                .map(next -> List.of("now: " + irq.posting().text(), "once KVM writes its entry again: " + next.text()))
                .orElse(List.of());
    }
}
