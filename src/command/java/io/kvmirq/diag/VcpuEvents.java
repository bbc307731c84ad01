/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.ThreadStat;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Producer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The events of a mirror from the tracepoints that a VM's threads pass. It says nothing that the tracepoints do not: an
 * event that is missing makes a vCPU {@link Event.VcpuUnseen}. For one thread.
 *
 * <p>Source: {@code kvm_apicv_inhibit_changed} in arch/x86/kvm/trace.h, which names the reasons since Linux 6.11. Their
 * numbers differ between versions.
 */
public final class VcpuEvents {
    static final String INHIBIT = "kvm_apicv_inhibit_changed";
    static final String UPDATE = LiveWindow.UPDATE;

    /**
     * A VM, as files show it.
     *
     * @param vcpus its vCPUs, by the number of the thread that runs each
     * @param threads the numbers of all threads of its process; none if that has another VM
     * @param producers the messages of its devices, by host irq
     * @param apicIds the physical APIC ids of the host's CPUs, by the number of the CPU
     */
    public record Known(
            Map<Integer, VcpuId> vcpus,
            Set<Integer> threads,
            Map<Integer, Producer> producers,
            Map<Integer, Integer> apicIds) {
        public Known {
            vcpus = Map.copyOf(vcpus);
            threads = Set.copyOf(threads);
            producers = Map.copyOf(producers);
            apicIds = Map.copyOf(apicIds);
        }
    }

    private static final int MOST_VECTOR = 255;

    private final Known known;
    private final VcpuSchedule schedule;
    private final Map<Integer, Phase> told = new TreeMap<>();
    private final List<Event> events = new ArrayList<>();
    /** Events of the VM that are not told yet, in their order. */
    private final Deque<TraceEvent> ofVm = new ArrayDeque<>();

    private final Map<Integer, Update> updates = new TreeMap<>();
    private boolean inhibitsKnown;
    private long unassignable;

    /** The last {@code kvm_pi_irte_update} of a message: KVM asked for posting. */
    record Update(Producer producer, int gsi, VcpuId vcpu, int vector) {}

    /** A VM that was not watched yet. */
    public VcpuEvents(Known known) {
        this.known = known;
        this.schedule = new VcpuSchedule(known.vcpus().keySet());
    }

    /** Events of the VM, from a trace with the clock of the next one that is read. */
    public void ofVm(String trace, Map<String, EventFormat> formats) {
        TraceEvent.read(trace, formats, ofVm::add, () -> unassignable++);
    }

    /**
     * Events of the VM, from a record with the clock of the next one that is read. An event counts only if no later one is
     * missing, as that may have undone it.
     *
     * @return whether all count
     */
    public boolean ofVm(Tracing.Recorded record, Map<String, EventFormat> formats) {
        if (record.missing() > 0 || !record.whole()) {
            return false;
        }
        ofVm(record.text(), formats);
        if (record.overwritten() > 0) {
            long whole = whole(ofVm.stream());
            ofVm.removeIf(event -> event.micros() < whole);
        }
        return record.overwritten() == 0;
    }

    /** The time from which on the buffer of each CPU has all events: the latest of their first ones. */
    private static long whole(Stream<TraceEvent> events) {
        Map<Integer, Long> firsts = new TreeMap<>();
        events.forEach(event -> firsts.putIfAbsent(event.cpu(), event.micros()));
        return firsts.values().stream().mapToLong(one -> one).max().orElse(0);
    }

    /**
     * The events in a piece of a trace.
     *
     * @param formats by the names of the tracepoints
     */
    public List<Event> read(String trace, Map<String, EventFormat> formats) {
        TraceEvent.read(trace, formats, this::event, this::miss);
        return taken();
    }

    /**
     * The events of a record. A CPU whose buffer overflowed has the last of its events only: no phase that an earlier one
     * tells is believed, of any CPU.
     */
    public List<Event> read(Tracing.Recorded record, Map<String, EventFormat> formats) {
        List<Optional<TraceEvent>> lines = new ArrayList<>();
        TraceEvent.read(
                record.text(), formats, event -> lines.add(Optional.of(event)), () -> lines.add(Optional.empty()));
        long whole = whole(lines.stream().flatMap(Optional::stream));
        boolean behind = record.overwritten() == 0;
        for (Optional<TraceEvent> line : lines) {
            if (!behind && line.isPresent() && line.get().micros() >= whole) {
                behind = true;
                miss();
            }
            line.ifPresentOrElse(this::event, this::miss);
        }
        if (!behind || record.missing() > 0 || !record.whole()) {
            miss();
        }
        return taken();
    }

    /** Events did not fit into the buffer at this place of the trace. */
    public List<Event> lost() {
        miss();
        return taken();
    }

    private List<Event> taken() {
        ofVm(Long.MAX_VALUE);
        List<Event> taken = List.copyOf(events);
        events.clear();
        return taken;
    }

    private void miss() {
        schedule.lost();
        tell();
    }

    private void event(TraceEvent event) {
        ofVm(event.micros());
        schedule.event(event);
        tell();
    }

    /** The events of the VM up to a time. */
    private void ofVm(long micros) {
        while (!ofVm.isEmpty() && ofVm.peek().micros() <= micros) {
            TraceEvent event = ofVm.remove();
            switch (event.name()) {
                case INHIBIT -> inhibit(event);
                case UPDATE -> update(event);
                default -> {}
            }
        }
    }

    /** Any thread may cause it; the host irq names the message. */
    private void update(TraceEvent event) {
        int irq = (int) event.number("host_irq").orElse(-1);
        Producer producer = known.producers().get(irq);
        int gsi = (int) event.number("gsi").orElse(-1);
        int vcpu = (int) event.number("vcpu_id").orElse(-1);
        int vector = (int) event.number("gvec").orElse(-1);
        boolean set = event.number("set").orElse(0) != 0;
        if (producer == null
                || gsi < 0
                || gsi > Gsi.MAX
                || set && (vcpu < 0 || vcpu > VcpuId.MAX || vector < 0 || vector > MOST_VECTOR)) {
            unassignable++;
            return;
        }
        EventFdId standIn = new EventFdId(irq);
        Gsi number = new Gsi(gsi);
        if (!set) {
            updates.remove(irq);
            events.add(new Event.ConsumerRemoved(standIn, number));
            return;
        }
        updates.put(irq, new Update(producer, gsi, new VcpuId(vcpu), vector));
        events.add(Event.RoutesCommitted.of(
                new Route.Msi(number, MsiMessage.to(new VcpuId(vcpu), new InterruptVector(vector)))));
        events.add(new Event.ConsumerAdded(standIn, number));
        events.add(new Event.ProducerAdded(standIn, producer));
    }

    /** Any thread of the process may change it, and the event does not name its VM. */
    private void inhibit(TraceEvent event) {
        Optional<Set<InhibitReason>> reasons = reasons(event);
        if (known.threads().contains(event.tid()) && reasons.isPresent()) {
            inhibitsKnown = true;
            events.add(new Event.Inhibited(reasons.get()));
        } else {
            unassignable++;
            // Reasons that cannot be read replace those that are known.
            inhibitsKnown &= !known.threads().contains(event.tid());
        }
    }

    /** Empty if the kernel does not name them all. */
    private static Optional<Set<InhibitReason>> reasons(TraceEvent event) {
        Set<InhibitReason> reasons = EnumSet.noneOf(InhibitReason.class);
        int names = event.text().lastIndexOf(' ');
        long mask = event.number("inhibits").orElse(-1);
        if (mask != 0) {
            for (String name : event.text().substring(names + 1).split("\\|")) {
                for (InhibitReason reason : InhibitReason.values()) {
                    if (reason.name().equals(name)) {
                        reasons.add(reason);
                    }
                }
            }
        }
        return reasons.size() == Long.bitCount(mask) ? Optional.of(reasons) : Optional.empty();
    }

    private void tell() {
        known.vcpus().forEach((tid, vcpu) -> {
            Phase now = schedule.phase(tid);
            if (!now.equals(told.put(tid, now))) {
                events.add(event(vcpu, now));
            }
        });
    }

    private Event event(VcpuId vcpu, Phase phase) {
        if (phase instanceof Phase.Running running) {
            Integer apicId = known.apicIds().get(running.cpu());
            return apicId == null ? new Event.VcpuUnseen(vcpu) : new Event.VcpuLoaded(vcpu, apicId);
        }
        if (phase instanceof Phase.Preempted) {
            return new Event.VcpuPreempted(vcpu);
        }
        if (phase instanceof Phase.Blocked) {
            return new Event.VcpuBlocked(vcpu);
        }
        return phase instanceof Phase.InUserSpace ? new Event.VcpuLeft(vcpu) : new Event.VcpuUnseen(vcpu);
    }

    /**
     * A thread at the end of the watch. If it passed nothing and nothing is missing, it is as {@link VcpuSchedule#quiet}
     * says.
     *
     * @param before empty if it was not seen, or events were not recorded
     */
    public List<Event> ended(int tid, Optional<ThreadStat> before, Optional<ThreadStat> after) {
        boolean other = before.isPresent()
                && after.isPresent()
                && before.get().began() != after.get().began();
        if (after.isEmpty() || other) {
            schedule.gone(tid);
        } else if (before.isPresent()) {
            schedule.quiet(tid, before.get(), after.get());
        }
        tell();
        return taken();
    }

    /** Events of KVM that concern some VM, and are not told: which VM, or which reasons, no field says. */
    public long unassignable() {
        return unassignable;
    }

    /** Whether all reasons are known that inhibit APIC virtualization in the VM. Only their changes are seen. */
    public boolean inhibitsKnown() {
        return inhibitsKnown;
    }

    /** The messages that KVM asked to post, by host irq. */
    Map<Integer, Update> updates() {
        return new TreeMap<>(updates);
    }

    /** The schedule so far. */
    public VcpuSchedule schedule() {
        return schedule;
    }
}
