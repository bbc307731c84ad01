/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HostApicId;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * The mirror's events, derived from the tracepoints of a VM's threads. It infers nothing beyond the tracepoints: a
 * missing event makes a vCPU {@link Event.VcpuUnseen}. For one thread.
 *
 * <p>Source: {@code kvm_apicv_inhibit_changed} in arch/x86/kvm/trace.h, which names the reasons since Linux 6.11. Their
 * numbers differ between versions. {@code __kvm_set_or_clear_apicv_inhibit()} passes it before it requests the update of
 * each vCPU, so the first {@code kvm_entry} after it may still be one without the update.
 */
public final class TracedEvents {
    static final String INHIBIT = "kvm_apicv_inhibit_changed";
    static final String ENTRY = "kvm_entry";
    private static final String INHIBITS = "inhibits";
    /**
     * A VM.
     *
     * @param vcpus its vCPUs, by the number of the thread that runs each
     * @param threads the numbers of all threads of its process
     * @param apicIds the physical APIC ids of the host's CPUs, by the number of the CPU
     */
    public record Known(Map<Integer, VcpuId> vcpus, Set<Integer> threads, Map<Integer, Integer> apicIds) {}

    /** The second load counts among a vCPU's first steps; the pair counts among its last. */
    private static final int MOST_STEPS = 6;

    /** The phases of vCPUs in order, after a change by KVM. The threads {@code updated} have applied the inhibits. */
    private record Stretch(Runnable change, Map<Integer, List<Phase>> steps, Set<Integer> updated) {
        Stretch(Runnable change) {
            this(change, new TreeMap<>(), new TreeSet<>());
        }

        /** If a vCPU takes more steps than the mirror needs, one in the middle is dropped. */
        void add(int tid, Phase phase) {
            List<Phase> all = steps.computeIfAbsent(tid, key -> new ArrayList<>());
            if (all.size() == MOST_STEPS) {
                all.remove(MOST_STEPS - 2);
            }
            all.add(phase);
        }
    }

    private final Set<Integer> tids;
    private final VcpuSchedule schedule;
    private final Map<Integer, Phase> told = new HashMap<>();
    private final List<Event> events = new ArrayList<>();
    private final Deque<Stretch> stretches = new ArrayDeque<>(List.of(new Stretch(() -> {})));
    private Known known = new Known(Map.of(), Set.of(), Map.of());
    private boolean inhibitsKnown;
    /** The number of entries to the guest since the inhibits changed, by thread. Empty until they change. */
    private Optional<Map<Integer, Integer>> entries = Optional.empty();

    /**
     * A VM that was not watched yet.
     *
     * @param tids the numbers of the threads of its vCPUs
     */
    public TracedEvents(Set<Integer> tids) {
        this.tids = Set.copyOf(tids);
        this.schedule = new VcpuSchedule(tids, this::tell);
    }

    /** The next event: of a thread of the VM, or of KVM for any VM. */
    public void event(TraceEvent event) {
        switch (event.name()) {
            case INHIBIT -> {
                entries = Optional.of(new HashMap<>());
                stretches.add(new Stretch(() -> inhibit(event)));
            }
            case ENTRY ->
                entries.ifPresent(all -> {
                    if (all.merge(event.tid(), 1, Integer::sum) == 2) {
                        stretches.getLast().updated().add(event.tid());
                    }
                });
            default -> schedule.event(event);
        }
    }

    /** Events of the threads are missing at this place. */
    public void lost() {
        schedule.lost();
    }

    /** Events of KVM for VMs are missing at this place. They may have reverted earlier ones. */
    public void lostOfVm() {
        entries = Optional.empty();
        stretches.add(new Stretch(() -> inhibitsKnown = false));
    }

    /**
     * The mirror's events since the last call. Of many steps of a vCPU, only the first and the last are returned.
     *
     * @param vm as files show it now
     */
    public List<Event> taken(Known vm) {
        known = vm;
        tids.forEach(this::tell);
        for (Stretch stretch : stretches) {
            stretch.change().run();
            stretch.steps().forEach((tid, phases) -> {
                VcpuId vcpu = vm.vcpus().get(tid);
                if (vcpu != null) {
                    phases.forEach(phase -> events.add(event(vcpu, phase)));
                }
            });
            if (inhibitsKnown) {
                stretch.updated().stream()
                        .flatMap(tid -> Stream.ofNullable(vm.vcpus().get(tid)))
                        .forEach(vcpu -> events.add(new Event.GuestEntered(vcpu)));
            }
        }
        stretches.clear();
        stretches.add(new Stretch(() -> {}));
        List<Event> taken = List.copyOf(events);
        events.clear();
        return taken;
    }

    /** Any thread of the process may cause the change, and the event does not name its VM. */
    private void inhibit(TraceEvent event) {
        Optional<Set<InhibitReason>> reasons = reasons(event);
        if (known.threads().contains(event.tid())) {
            // Reasons that cannot be read replace those that are known.
            inhibitsKnown = reasons.isPresent();
            reasons.ifPresent(all -> events.add(new Event.Inhibited(all)));
        }
    }

    /** Empty if the kernel does not name them all. */
    private static Optional<Set<InhibitReason>> reasons(TraceEvent event) {
        Set<String> names = event.flags(INHIBITS);
        Set<InhibitReason> reasons = EnumSet.noneOf(InhibitReason.class);
        for (InhibitReason reason : InhibitReason.values()) {
            if (names.contains(reason.name())) {
                reasons.add(reason);
            }
        }
        OptionalLong mask = event.number(INHIBITS);
        return mask.isPresent() && reasons.size() == Long.bitCount(mask.getAsLong())
                ? Optional.of(reasons)
                : Optional.empty();
    }

    private void tell(int tid) {
        Phase now = schedule.phase(tid);
        if (!now.equals(told.put(tid, now))) {
            stretches.getLast().add(tid, now);
        }
    }

    private Event event(VcpuId vcpu, Phase phase) {
        if (phase instanceof Phase.Running running) {
            Integer apicId = known.apicIds().get(running.cpu());
            return apicId == null ? new Event.VcpuUnseen(vcpu) : new Event.VcpuLoaded(vcpu, new HostApicId(apicId));
        }
        if (phase instanceof Phase.Preempted) {
            return new Event.VcpuPreempted(vcpu);
        }
        if (phase instanceof Phase.Blocked) {
            return new Event.VcpuBlocked(vcpu);
        }
        return phase instanceof Phase.InUserSpace ? new Event.VcpuLeft(vcpu) : new Event.VcpuUnseen(vcpu);
    }

    /** The phases of the threads. */
    public VcpuSchedule schedule() {
        return schedule;
    }
}
