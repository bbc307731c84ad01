/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.mirror.Event;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * The events of a mirror from the tracepoints that a VM's threads pass. It says nothing that the tracepoints do not: an
 * event that is missing makes a vCPU {@link Event.VcpuUnseen}. For one thread.
 *
 * <p>Source: {@code kvm_apicv_inhibit_changed} in arch/x86/kvm/trace.h, which names the reasons since Linux 6.11. Their
 * numbers differ between versions.
 */
public final class VcpuEvents {
    static final String INHIBIT = "kvm_apicv_inhibit_changed";

    private final Map<Integer, VcpuId> vcpus;
    private final Map<Integer, Integer> apicIds;
    private final Set<Integer> threads;
    private final VcpuSchedule schedule;
    private final Map<Integer, Phase> told = new TreeMap<>();
    private final List<Event> events = new ArrayList<>();
    private long unassignable;

    /**
     * A VM that was not watched yet.
     *
     * @param vcpus its vCPUs, by the number of the thread that runs each
     * @param threads the numbers of all threads of its process, which has no other VM
     * @param apicIds the physical APIC ids of the host's CPUs, by the number of the CPU
     */
    public VcpuEvents(Map<Integer, VcpuId> vcpus, Set<Integer> threads, Map<Integer, Integer> apicIds) {
        this.vcpus = new TreeMap<>(vcpus);
        this.threads = Set.copyOf(threads);
        this.apicIds = Map.copyOf(apicIds);
        this.schedule = new VcpuSchedule(vcpus.keySet());
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

    /** Events did not fit into the buffer at this place of the trace. */
    public List<Event> lost() {
        miss();
        return taken();
    }

    private List<Event> taken() {
        List<Event> taken = List.copyOf(events);
        events.clear();
        return taken;
    }

    private void miss() {
        schedule.lost();
        tell();
    }

    private void event(TraceEvent event) {
        if (event.name().equals(INHIBIT)) {
            inhibit(event);
        } else {
            schedule.event(event);
            tell();
        }
    }

    /** Any thread of the process may change it, and the event does not name its VM. */
    private void inhibit(TraceEvent event) {
        Optional<Set<InhibitReason>> reasons = reasons(event);
        if (threads.contains(event.tid()) && reasons.isPresent()) {
            events.add(new Event.Inhibited(reasons.get()));
        } else {
            unassignable++;
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
        vcpus.forEach((tid, vcpu) -> {
            Phase now = schedule.phase(tid);
            if (!now.equals(told.put(tid, now))) {
                events.add(event(vcpu, now));
            }
        });
    }

    private Event event(VcpuId vcpu, Phase phase) {
        if (phase instanceof Phase.Running running) {
            Integer apicId = apicIds.get(running.cpu());
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

    /** Events of KVM that concern some VM, and are not told: which VM, or which reasons, no field says. */
    public long unassignable() {
        return unassignable;
    }

    /** The schedule so far. */
    public VcpuSchedule schedule() {
        return schedule;
    }
}
