/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.diag.sources.Vcpus.Field;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HostApicId;
import io.kvmirq.mirror.Producer;
import io.kvmirq.path.Evidence;
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
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The mirror's events, derived from the tracepoints of a VM's threads. It infers nothing beyond the tracepoints: a
 * missing event makes a vCPU {@link Event.VcpuUnseen}. For one thread.
 *
 * <p>Source: {@code kvm_apicv_inhibit_changed} in arch/x86/kvm/trace.h, which names the reasons since Linux 6.11. Their
 * numbers differ between versions. {@code __kvm_set_or_clear_apicv_inhibit()} passes it before it requests the update of
 * each vCPU, so the first {@code kvm_entry} after it may still be one without the update.
 */
public final class VcpuEvents {
    static final String INHIBIT = "kvm_apicv_inhibit_changed";
    static final String ENTRY = "kvm_entry";
    static final String UPDATE = LiveWindow.UPDATE;
    static final String GA_LOG = LiveWindow.GA_LOG;

    private static final String INHIBITS = "inhibits";
    private static final String OTHER_FORM = "this kernel records it in another form";
    private static final String BY_INDEX =
            "since Linux 6.17 it has the index of a vCPU, and the order in which the vCPUs were created is not known";

    /**
     * A VM, as files show it.
     *
     * @param vcpus its vCPUs, by the number of the thread that runs each
     * @param threads the numbers of all threads of its process; none if that has another VM
     * @param producers the messages of its devices, by host irq
     * @param apicIds the physical APIC ids of the host's CPUs, by the number of the CPU
     * @param elsewhere the numbers of the vCPUs of all other VMs of the host; empty if they are not known
     * @param loggedById whether {@code kvm_avic_ga_log} names the VM's vCPUs by their ids
     */
    public record Known(
            Map<Integer, VcpuId> vcpus,
            Set<Integer> threads,
            Map<Integer, Producer> producers,
            Map<Integer, Integer> apicIds,
            Optional<Set<Integer>> elsewhere,
            boolean loggedById) {
        /** Of a kernel of any version: it may name vCPUs by their indexes. */
        public Known(
                Map<Integer, VcpuId> vcpus,
                Set<Integer> threads,
                Map<Integer, Producer> producers,
                Map<Integer, Integer> apicIds,
                Optional<Set<Integer>> elsewhere) {
            this(vcpus, threads, producers, apicIds, elsewhere, false);
        }

        public Known {
            vcpus = Map.copyOf(vcpus);
            threads = Set.copyOf(threads);
            producers = Map.copyOf(producers);
            apicIds = Map.copyOf(apicIds);
            elsewhere = elsewhere.map(Set::copyOf);
        }
    }

    private static final int MOST_VECTOR = 255;
    /** The broadcast id in an 8-bit destination. */
    private static final int BROADCAST = 255;

    /** Of the first steps of a vCPU, the second load counts; of the last, the pair. */
    private static final int MOST_STEPS = 6;

    /** The phases of vCPUs in order, after a change by KVM. The threads {@code updated} have applied the inhibits. */
    private record Stretch(Runnable change, Map<Integer, List<Phase>> steps, Set<Integer> updated) {
        Stretch(Runnable change) {
            this(change, new TreeMap<>(), new TreeSet<>());
        }

        /** If a vCPU takes more steps than the mirror needs, one in the middle is dropped. */
        void add(int tid, Phase phase) {
            List<Phase> all = steps.computeIfAbsent(tid, one -> new ArrayList<>());
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
    private Known known = new Known(Map.of(), Set.of(), Map.of(), Map.of(), Optional.empty());
    /** The counts of GA log entries that are not assigned to a VM, by VM and vCPU number. */
    private final Map<Tag, Long> logged = new HashMap<>();

    private final Map<VcpuId, Tag> tags = new HashMap<>();
    private final Map<Integer, Update> updates = new TreeMap<>();
    /** The number of unassigned events, by reason. */
    private final Map<String, Long> unassignable = new TreeMap<>();

    private boolean inhibitsKnown;
    /** The number of entries to the guest since the inhibits changed, by thread. Empty until they change. */
    private Optional<Map<Integer, Integer>> entries = Optional.empty();

    /** The last {@code kvm_pi_irte_update} of a message: KVM requested posting. */
    record Update(Producer producer, int gsi, VcpuId vcpu, int vector) {}

    /** The two parts of a GATag, as {@code kvm_avic_ga_log} names them. */
    record Tag(int vm, int vcpu) {}

    /**
     * A VM that was not watched yet.
     *
     * @param tids the numbers of the threads of its vCPUs
     */
    public VcpuEvents(Set<Integer> tids) {
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
            case UPDATE -> stretches.add(new Stretch(() -> update(event)));
            case GA_LOG -> logged(event);
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
        stretches.add(new Stretch(() -> {
            inhibitsKnown = false;
            updates.forEach(
                    (irq, update) -> events.add(new Event.ConsumerRemoved(standIn(irq), new Gsi(update.gsi()))));
            updates.clear();
        }));
    }

    /**
     * The mirror's events since the last call. Of many steps of a vCPU, only the first and the last are returned.
     *
     * @param vm as files show it now
     */
    public List<Event> taken(Known vm) {
        known = vm;
        assign();
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

    private void logged(TraceEvent event) {
        OptionalLong vm = event.number("vmid");
        OptionalLong vcpu = event.number("vcpuid");
        if (vm.isEmpty() || vcpu.isEmpty()) {
            unassignable(GA_LOG, OTHER_FORM, 1);
            return;
        }
        logged.merge(new Tag((int) vm.getAsLong(), (int) vcpu.getAsLong()), 1L, Long::sum);
    }

    /**
     * KVM does not show the number of a VM. The number in the log is this VM's if no other VM has the vCPU in the
     * entry.
     */
    private void assign() {
        if (!known.loggedById()) {
            logged.values().forEach(count -> unassignable(GA_LOG, BY_INDEX, count));
            logged.clear();
            return;
        }
        Set<Integer> own = known.vcpus().values().stream().map(VcpuId::number).collect(Collectors.toSet());
        Set<Integer> vms = logged.keySet().stream()
                .filter(tag -> own.contains(tag.vcpu)
                        && known.elsewhere()
                                .filter(all -> !all.contains(tag.vcpu))
                                .isPresent())
                .map(Tag::vm)
                .collect(Collectors.toSet());
        logged.forEach((tag, count) -> {
            if (own.contains(tag.vcpu) && vms.equals(Set.of(tag.vm))) {
                tags.put(new VcpuId(tag.vcpu), tag);
            } else {
                String several = vms.size() > 1
                        ? "entries name several VMs, and all but one of these are gone"
                        : "the host has other VMs, and only KVM knows their numbers";
                unassignable(GA_LOG, own.contains(tag.vcpu) ? several : "the guest has no vCPU of this number", count);
            }
        });
        logged.clear();
    }

    /** KVM posts any vector that the guest wrote, even one that no LAPIC delivers. */
    private static MsiMessage message(int vcpu, int vector) {
        long high = CompatibilityMsi.DESTINATION_HIGH.put(0, vcpu >>> Byte.SIZE);
        long low = CompatibilityMsi.DESTINATION_LOW.put(high, vcpu & BROADCAST);
        return new MsiMessage(CompatibilityMsi.BASE_ADDRESS.put(low, CompatibilityMsi.BASE), vector);
    }

    /** The mirror's eventfd for a host irq: KVM's events name no eventfd. */
    static EventFdId standIn(int irq) {
        return new EventFdId(irq);
    }

    /** Any thread may cause the event; the host irq identifies the message. */
    private void update(TraceEvent event) {
        int irq = (int) event.number("host_irq").orElse(-1);
        Producer producer = known.producers().get(irq);
        int gsi = (int) event.number("gsi").orElse(-1);
        int vcpu = (int) event.number("vcpu_id").orElse(-1);
        int vector = (int) event.number("gvec").orElse(-1);
        OptionalLong asked = event.number("set");
        boolean set = asked.orElse(0) != 0;
        if (producer == null
                || asked.isEmpty()
                || gsi < 0
                || gsi > Gsi.MAX
                || set && (vcpu < 0 || vcpu > VcpuId.MAX || vector < 0 || vector > MOST_VECTOR)) {
            unassignable(
                    UPDATE, producer == null && irq >= 0 ? "its host irq is of no device of the guest" : OTHER_FORM, 1);
            return;
        }
        EventFdId standIn = standIn(irq);
        Gsi number = new Gsi(gsi);
        if (!set) {
            updates.remove(irq);
            events.add(new Event.ConsumerRemoved(standIn, number));
            return;
        }
        updates.put(irq, new Update(producer, gsi, new VcpuId(vcpu), vector));
        if (vcpu >= BROADCAST) {
            // KVM has resolved the destination, so the VM has 32-bit ids, and 255 is a vCPU.
            events.add(new Event.ApicIdsWidened());
            events.add(new Event.BroadcastQuirkDisabled());
        }
        events.add(Event.RoutesCommitted.of(new Route.Msi(number, message(vcpu, vector))));
        events.add(new Event.ConsumerAdded(standIn, number));
        events.add(new Event.ProducerAdded(standIn, producer));
    }

    /** Any thread of the process may cause the change, and the event does not name its VM. */
    private void inhibit(TraceEvent event) {
        Optional<Set<InhibitReason>> reasons = reasons(event);
        if (!known.threads().contains(event.tid())) {
            unassignable(
                    INHIBIT,
                    known.threads().isEmpty()
                            ? "the process has several VMs"
                            : "its thread is of another process, or of the kernel",
                    1);
            return;
        }
        // Reasons that cannot be read replace those that are known.
        inhibitsKnown = reasons.isPresent();
        reasons.ifPresentOrElse(
                all -> events.add(new Event.Inhibited(all)),
                () -> unassignable(INHIBIT, "this kernel does not name all its reasons", 1));
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

    /**
     * A thread at the end of the watch. If it passed no tracepoint and no event is missing, {@link VcpuSchedule#quiet}
     * has its phase.
     *
     * @param before empty if it did not exist, or events were not recorded
     * @param hasVm whether its process still has the VM
     */
    public void ended(int tid, Optional<ThreadStat> before, Optional<ThreadStat> after, boolean hasVm) {
        boolean other = before.isPresent()
                && after.isPresent()
                && before.get().began() != after.get().began();
        if (after.isEmpty() || other) {
            schedule.gone(tid, "its thread ended");
        } else if (!hasVm) {
            schedule.gone(tid, "its process closed the VM, or runs another program");
        } else if (before.isPresent()) {
            schedule.quiet(tid, before.get(), after.get());
        }
    }

    private void unassignable(String event, String why, long count) {
        unassignable.merge(event + ": " + why, count, Long::sum);
    }

    /** The number of KVM's events that are assigned to no VM, by their name and the reason. */
    public Map<String, Long> unassignable() {
        return new TreeMap<>(unassignable);
    }

    /** Whether all reasons that inhibit APIC virtualization in the VM are known. Only their changes are traced. */
    public boolean inhibitsKnown() {
        return inhibitsKnown;
    }

    /** The GATag of a vCPU, if the GA log had it. */
    Optional<Tag> tag(VcpuId vcpu) {
        return Optional.ofNullable(tags.get(vcpu));
    }

    /** Its GATag as a field. */
    Field gaTag(VcpuId vcpu) {
        return tag(vcpu)
                .map(one -> Field.of("GATag", "VM " + one.vm() + ", vCPU " + one.vcpu(), Evidence.observed(GA_LOG)))
                .orElseGet(() -> Field.unknown(
                        "GATag",
                        known.loggedById()
                                ? "vCPU " + vcpu.number() + " of a number that KVM gives the VM: only " + GA_LOG
                                        + " names that"
                                : BY_INDEX));
    }

    /** The messages for which KVM requested posting, by host irq. */
    Map<Integer, Update> updates() {
        return new TreeMap<>(updates);
    }

    public VcpuSchedule schedule() {
        return schedule;
    }
}
