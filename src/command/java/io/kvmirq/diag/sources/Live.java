/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.diag.Stages;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SortedSet;
import java.util.stream.Stream;

/**
 * The changes on a host during a watch. Immutable. Texts may contain names from files.
 *
 * @param watched the length of the watch
 * @param cost the CPU time of this process during the watch
 * @param around its CPU time to begin the watch and to read the record
 * @param before the time until the watch began
 * @param afterwards the time from its end until all was removed
 * @param counters how much each counter grew
 * @param events how often each tracepoint was passed, as far as it was recorded
 * @param irqs the observations of each host irq
 * @param missing facts that could not be watched, and tools that would show them
 * @param lost how many events did not fit into the buffer
 * @param notes a sentence each
 * @param counted the counts of the probes. Empty without probes
 */
public record Live(
        Duration watched,
        Duration cost,
        Duration around,
        Duration before,
        Duration afterwards,
        List<Counter> counters,
        List<Seen> events,
        Map<Integer, Irq> irqs,
        List<Known.Unknown<?>> missing,
        long lost,
        List<String> notes,
        Optional<Stages.Counted> counted) {
    /** A counter, such as {@code host irq 27} or {@code PIN}, and how much it grew. */
    public record Counter(String name, long grew) {}

    /**
     * A tracepoint.
     *
     * @param event its name
     * @param count how often it was passed
     * @param inHandlers how often in the handler of a host irq that was asked for
     * @param ofGuest how often by a thread of the guest's process
     * @param ofWorkers how often by a kernel worker, which may work for any VM
     */
    public record Seen(String event, long count, long inHandlers, long ofGuest, long ofWorkers) {}

    /** The last {@code kvm_pi_irte_update} of a host irq: KVM requests posting, or withdraws the request. */
    public record Update(boolean set, OptionalLong vcpu, OptionalLong gsi, OptionalLong vector) {}

    /**
     * A host irq.
     *
     * @param counted how often the host handled it, by its counter. Empty if it has none
     * @param handled how many of its handlers were recorded
     * @param bracketed whether the ends of its handlers were recorded too, so that the events inside them are certain
     * @param messages the messages that KVM decoded in its handlers, as the kernel prints them
     * @param vectors the guest vectors in these messages
     * @param addressed the vCPUs that KVM found for them: the tracepoint comes before KVM checks whether the LAPIC is
     *     on
     * @param accepted the vCPUs whose virtual APIC got one of these vectors
     * @param gsis the GSIs that KVM raised in its handlers
     * @param workerGsi the one GSI that workers of the kernel raised after its handlers, on the same CPU, and after no other's
     * @param update the last request for posting
     */
    public record Irq(
            OptionalLong counted,
            long handled,
            boolean bracketed,
            SortedSet<String> messages,
            SortedSet<Long> vectors,
            SortedSet<Long> addressed,
            SortedSet<Long> accepted,
            SortedSet<Long> gsis,
            OptionalLong workerGsi,
            Optional<Update> update) {}

    public Live {
        counters = List.copyOf(counters);
        events = List.copyOf(events);
        irqs = Map.copyOf(irqs);
        missing = List.copyOf(missing);
        notes = List.copyOf(notes);
    }

    /** The stages that probes counted: of each host irq, and then of each irqfd that threads signalled. */
    public List<Stages> stages() {
        return counted.stream()
                .flatMap(counted -> Stream.concat(
                        irqs.keySet().stream().sorted().flatMap(irq -> Stages.count(counted, irq).stream()),
                        Stages.ofThreads(counted).stream()))
                .toList();
    }

    public boolean saw(String event) {
        return events.stream().anyMatch(seen -> seen.event().equals(event));
    }

    /** The growth of a counter, if it exists. */
    public OptionalLong grew(String counter) {
        return counters.stream()
                .filter(count -> count.name().equals(counter))
                .mapToLong(Counter::grew)
                .findFirst();
    }

    /** Counts of each event that was passed. */
    public long count(String event) {
        return events.stream()
                .filter(seen -> seen.event().equals(event))
                .mapToLong(Seen::count)
                .sum();
    }

    /** The time, such as {@code 5.0 s}. */
    public String time() {
        return seconds(watched);
    }

    /** A time, such as {@code 5.0 s}. */
    public static String seconds(Duration time) {
        long tenths = time.toMillis() / 100;
        return tenths / 10 + "." + tenths % 10 + " s";
    }

    /** The cost meanwhile in thousandths of a CPU. */
    public long perMille() {
        return watched.isZero() ? 0 : cost.toMillis() * 1000 / Math.max(1, watched.toMillis());
    }
}
