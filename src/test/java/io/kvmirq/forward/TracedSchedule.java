/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.VcpuId;
import io.kvmirq.diag.VcpuEvents;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeTracing;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.mirror.Event;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/** The events of a mirror from the tracepoints that a fake kernel passes. */
final class TracedSchedule {
    private static final int PROCESS = 4711;

    private final FakeTracing schedule;
    private final FakeTracing ofVm;
    private final UnaryOperator<String> change;
    private final Map<String, EventFormat> formats = new HashMap<>();
    private final VcpuEvents events;

    /**
     * @param most events between two looks
     * @param change of the text of the trace
     */
    TracedSchedule(FakeKernel fake, Map<Integer, Integer> apicIds, int most, UnaryOperator<String> change) {
        this.change = change;
        this.schedule = fake.tracing();
        this.ofVm = fake.tracing();
        Map<Integer, VcpuId> vcpus = new HashMap<>();
        fake.vcpus().forEach(vcpu -> vcpus.put(vcpu.thread(), vcpu.id()));
        Set<Integer> threads = new HashSet<>(vcpus.keySet());
        threads.add(PROCESS);
        schedule.only(vcpus.keySet());
        schedule.limit(most);
        VcpuSchedule.EVENTS.keySet().forEach(event -> choose(schedule, event));
        choose(ofVm, "kvm/kvm_apicv_inhibit_changed");
        schedule.start();
        ofVm.start();
        this.events = new VcpuEvents(new VcpuEvents.Known(vcpus, threads, Map.of(), apicIds));
    }

    private void choose(FakeTracing tracing, String event) {
        EventFormat format =
                EventFormat.parse(tracing.choose(event).orElseThrow()).orElseThrow();
        formats.put(format.name(), format);
    }

    /** The events since the last call. */
    List<Event> events() {
        List<Event> all = new ArrayList<>();
        if (schedule.lost() > 0) {
            all.addAll(events.lost());
        }
        events.ofVm(ofVm.read(), formats);
        all.addAll(events.read(change.apply(schedule.read()), formats));
        return all;
    }
}
