/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.VcpuId;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** A watch of a guest's vCPUs: a tracing instance records the schedule of their threads. */
public final class VcpuWindow extends Watch {
    private static final String NO_THREAD = "the vCPU's thread is not known; debugfs shows it (kvm/TID-FD/vcpuN/pid)";

    private final VmProcess guest;
    private final Map<Integer, VcpuId> vcpus;
    private final Map<Integer, Optional<ThreadStat>> before = new HashMap<>();
    private final Known<Tracing> noSchedule;
    private final VcpuSchedule schedule;
    private Optional<Tracing> tracing = Optional.empty();
    private boolean records;
    private long begin;

    private VcpuWindow(LiveHost machine, HostFacts host, VmProcess guest) {
        super(machine);
        this.guest = guest;
        this.vcpus = guest.vms().size() == 1 ? VcpuThreads.vcpus(host, guest) : Map.of();
        this.schedule = new VcpuSchedule(vcpus.keySet(), tid -> {});
        this.noSchedule = guest.vms().size() == 1
                ? host.notInDebugfs(NO_THREAD, Guests.NAMES)
                : new Known.Unknown<>(
                        "the process has " + guest.vms().size() + " VMs, whose vCPUs have the same numbers",
                        "use a VMM with one VM per process");
    }

    /**
     * Begins.
     *
     * @param host as it was just before
     */
    public static VcpuWindow begin(LiveHost machine, HostFacts host, VmProcess guest) {
        VcpuWindow window = new VcpuWindow(machine, host, guest);
        window.begin(() -> {
            window.record();
            window.vcpus.keySet().forEach(tid -> window.before.put(tid, VcpuThreads.stat(machine.files(), guest, tid)));
            window.begin = machine.nanos();
        });
        return window;
    }

    private void record() {
        tracing = open(vcpus.isEmpty() ? noSchedule : machine.tracing(vcpus.keySet()));
        tracing.ifPresent(own -> {
            new TreeMap<>(VcpuSchedule.EVENTS).forEach((event, filter) -> choose(own, event, filter));
            records = start(own, schedule)
                    && formats.keySet().containsAll(List.of(VcpuSchedule.SWITCH, VcpuSchedule.FPU));
        });
        reader.start();
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
        Optional<Tracing.Lost> lost = stop(tracing);
        readToEnd();
        close();
        if (lost.isEmpty() || lost.get().missing() > 0) {
            schedule.lost();
        }
        boolean hasVm = after.vms().all().stream()
                .anyMatch(
                        process -> process.pid() == guest.pid() && process.vms().equals(guest.vms()));
        vcpus.keySet().forEach(tid -> ended(tid, last.getOrDefault(tid, Optional.empty()), hasVm));
        boolean whole = lost.isPresent() && lost.get().total() == 0;
        return new Vcpus(
                guest.asGuest(),
                Optional.of(watched),
                Vcpus.of(
                        guest,
                        vcpus,
                        (vcpu, tid) -> Vcpus.fields(
                                tid.map(schedule::phase).orElseGet(() -> new Phase.Unknown(NO_THREAD)),
                                tid.filter(thread -> records)
                                        .map(thread -> (whole ? "" : "at least ") + "KVM_RUN entered: "
                                                + schedule.runs(thread) + ", halts ended: " + schedule.halts(thread)))),
                lost.orElse(NONE).total(),
                missing,
                notes);
    }

    /**
     * A thread at the end of the watch. If it passed no tracepoint and no event is missing, {@link VcpuSchedule#quiet}
     * has its phase.
     *
     * @param hasVm whether its process still has the VM
     */
    private void ended(int tid, Optional<ThreadStat> now, boolean hasVm) {
        Optional<ThreadStat> then = records ? before.getOrDefault(tid, Optional.empty()) : Optional.empty();
        if (now.isEmpty()
                || then.filter(thread -> thread.began() != now.get().began()).isPresent()) {
            schedule.gone(tid, "its thread ended");
        } else if (!hasVm) {
            schedule.gone(tid, "its process closed the VM, or runs another program");
        } else {
            then.ifPresent(thread -> schedule.quiet(tid, thread, now.get()));
        }
    }
}
