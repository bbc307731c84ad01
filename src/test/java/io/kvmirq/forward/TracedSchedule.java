/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.VcpuId;
import io.kvmirq.cli.host.FakeRecording;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeTracing;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.TraceReader;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.mirror.Event;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/** The events of a mirror from the tracepoints that a fake kernel passes. */
final class TracedSchedule {
    static final int PROCESS = FakeTracing.PROCESS;

    private final TraceReader reader = new TraceReader();
    private final Predicate<TraceEvent> reads;
    private final TracedEvents events;
    private final TracedEvents.Known known;

    /**
     * @param vcpus the present and future vCPUs by thread
     * @param max events of a CPU between two looks
     * @param reads the events that the reader does not leave out
     */
    TracedSchedule(
            FakeKernel fake,
            Map<Integer, VcpuId> vcpus,
            Map<Integer, Integer> apicIds,
            int max,
            Predicate<TraceEvent> reads) {
        this.reads = reads;
        Set<Integer> threads = new HashSet<>(vcpus.keySet());
        threads.add(PROCESS);
        this.known = new TracedEvents.Known(vcpus, threads, apicIds);
        this.events = new TracedEvents(vcpus.keySet());
        FakeTracing schedule = fake.tracing();
        schedule.only(vcpus.keySet());
        schedule.limit(max);
        Set<String> names = new HashSet<>(VcpuSchedule.EVENTS.keySet());
        names.add("kvm/kvm_entry");
        add(schedule, names, events::lost);
        add(fake.tracing(), Set.of("kvm/kvm_apicv_inhibit_changed"), events::lostOfVm);
    }

    private void add(FakeTracing buffer, Set<String> names, Runnable lost) {
        Tracing tracing = new FakeRecording(buffer);
        List<EventFormat> formats = names.stream()
                .map(event -> tracing.choose(event, "").known().orElseThrow())
                .toList();
        reader.add(tracing, tracing.start().known().orElseThrow(), formats, new TraceReader.Sink() {
            @Override
            public void event(TraceEvent event) {
                if (reads.test(event)) {
                    events.event(event);
                }
            }

            @Override
            public void lost() {
                lost.run();
            }
        });
    }

    /** The events since the last call. */
    List<Event> events() {
        reader.end();
        return events.taken(known);
    }
}
