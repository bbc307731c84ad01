/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.VmThread.*;

import io.kvmirq.diag.sources.Guests.Worker;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * Applies the {@link VmmRules} to the process that runs a VM: may its threads run at all? For one use by one thread.
 */
public final class VmmCheck {
    /** The limit of checked threads beside those of vCPUs, because a process may have ten thousand. */
    static final int MOST_THREADS = 64;

    private static final int MOST_DIGITS = 9;

    private final Vmm vmm;
    private final HostFacts host;
    private final VmProcess process;
    private final List<String> tasks;
    /** The threads of vCPUs that are known. */
    private final Map<Integer, VmThread> vcpus;

    private final Flaws flaws = new Flaws();

    private VmmCheck(Vmm vmm) {
        this.vmm = vmm;
        this.host = vmm.host();
        this.process = vmm.process();
        this.tasks = vmm.tasks();
        this.vcpus = vmm.vcpus();
    }

    private VmThread thread(int tid) {
        return new VmThread(new Fact.Facts(host), process.pid(), tid, OptionalInt.empty(), VmThread.Kind.THREAD);
    }

    /** Checks a process that holds a VM: its threads, but no helper, which only other devices of the guest need. */
    public static Link run(HostFacts host, VmProcess process) {
        return new VmmCheck(Vmm.read(host, process)).link();
    }

    /**
     * Checks what serves the guest's virtio queues and other devices, and the devices of which it has a part.
     *
     * @param workers the threads that the kernel runs for vhost
     */
    public static Link ofHelpers(HostFacts host, VmProcess process, List<Worker> workers) {
        return new VmmCheck(Vmm.read(host, process)).helpers(workers);
    }

    private Link link() {
        Map<Integer, VmThread> threads = threads();
        VmThread leader = leader();
        flaws.requireSeen(leader, TASKS);
        Optional<String> group = flaws.ask(leader, CGROUP);
        vcpus.values().stream()
                .filter(vcpu -> (tasks.isEmpty() || isTask(vcpu)) && !CGROUP.is(vcpu, value -> true))
                .findFirst()
                .ifPresent(thread -> flaws.requireSeen(thread, CGROUP));
        List<String> groups = vcpus.values().stream()
                .flatMap(vcpu -> CGROUP.of(vcpu).known().stream())
                .toList();
        new ControlGroups(host, flaws, "").read(group, groups);
        flaws.requireSeen(leader, STATUS);
        long seen = threads.values().stream().filter(this::looked).count();
        threads.values().stream()
                .filter(thread -> !thread.isHelper())
                .forEach(thread -> flaws.apply(thread, VmmRules.ORDER));
        threads.values().stream() // the first of equal threads is enough
                .filter(needed ->
                        (!needed.isNeeded() || STATUS.is(needed, value -> true)) && !STAT.is(needed, value -> true))
                .findFirst()
                .ifPresent(thread -> flaws.requireSeen(thread, STAT));
        process.vcpus().forEach(vcpu -> flaws.apply(vmm.vcpu(vcpu.id()), VmmRules.VCPU));
        flaws.apply(vmm, VmmRules.PROCESS);
        if (STATUS.is(leader, value -> true) && seen > 0) {
            flaws.fine(
                    seen == 1
                            ? "its thread is neither stopped nor traced"
                            : seen + " of its threads checked, none stopped or traced");
        }
        return link("process " + process.pid());
    }

    private VmThread leader() {
        return vcpus.getOrDefault(process.pid(), thread(process.pid()));
    }

    /** The first thread, those of vCPUs, then as many others as are checked. */
    private Map<Integer, VmThread> threads() {
        Map<Integer, VmThread> threads = new LinkedHashMap<>();
        threads.put(process.pid(), leader());
        threads.putAll(vcpus);
        tasks.stream()
                .filter(name -> name.matches("\\d{1," + MOST_DIGITS + "}"))
                .map(Integer::valueOf)
                .filter(tid -> !threads.containsKey(tid))
                .limit(MOST_THREADS)
                .toList()
                .forEach(tid -> threads.put(tid, thread(tid)));
        return threads;
    }

    private Link helpers(List<Worker> workers) {
        flaws.requireSeen(vmm, Vmm.WORKERS);
        Stream.concat(
                        threads().values().stream().filter(VmThread::isHelper),
                        workers.stream()
                                .map(worker -> new VmThread(
                                        new Fact.Facts(host),
                                        process.pid(),
                                        worker.tid(),
                                        OptionalInt.empty(),
                                        worker.ofKernel() ? VmThread.Kind.KERNEL_WORKER : VmThread.Kind.WORKER)))
                .forEach(thread -> flaws.apply(thread, VmmRules.HELPER).apply(thread, VmmRules.HELPERS_ORDER));
        host.backEnds(process).forEach(this::backEnd);
        flaws.requireSeen(vmm, Vmm.EVENTFDS);
        flaws.apply(vmm, VmmRules.SERVED);
        flaws.ask(vmm, Vmm.PARENTS).stream()
                .flatMap(List::stream)
                .map(device -> PciFunction.read(host, device, device.address(), true))
                .forEach(function -> {
                    flaws.ask(function, PciFunction.POWER_STATE);
                    flaws.apply(function, VmmRules.PARENT);
                });
        flaws.apply(vmm, VmmRules.NAMED).apply(vmm, VmmRules.LIMIT);
        return link("helpers of process " + process.pid());
    }

    private Link link(String value) {
        return flaws.link(Hop.VMM, Evidence.observed("/proc/" + process.pid()), value, "")
                .with(Hop.VMM, List.of(new ProcessId(process.pid())));
    }

    /** The threads of a back end, up to the first one with a flaw, and its quota of CPU time. */
    private void backEnd(int pid) {
        VmThread first = backEnd(pid, pid);
        List<VmThread> threads = new ArrayList<>(List.of(first));
        host.threads(pid).stream()
                .map(Integer::valueOf)
                .filter(tid -> tid != pid)
                .limit(MOST_THREADS)
                .forEach(tid -> threads.add(backEnd(pid, tid)));
        for (VmThread thread : threads) {
            if (flaws.finds(thread, VmmRules.HELPER) || flaws.finds(thread, VmmRules.HELPERS_ORDER)) {
                break;
            }
        }
        CGROUP.of(first)
                .known()
                .filter(group -> ControlGroups.thaw(host, group).isEmpty())
                .ifPresent(group -> new ControlGroups(host, flaws, first.called()).read(Optional.of(group), List.of()));
    }

    private VmThread backEnd(int pid, int tid) {
        return new VmThread(new Fact.Facts(host), pid, tid, OptionalInt.empty(), VmThread.Kind.BACK_END);
    }

    /** False for a thread that does not show its state. */
    private boolean looked(VmThread thread) {
        boolean shown = STATUS.is(thread, value -> true);
        if (shown) {
            flaws.apply(thread, VmmRules.STATE);
        }
        if (thread.vcpu().isPresent() && !thread.isLeader() && !tasks.isEmpty() && !isTask(thread)) {
            boolean last = vcpus.values().stream().noneMatch(this::isTask);
            flaws.apply(thread, last || thread.vcpu().getAsInt() == 0 ? VmmRules.GONE : VmmRules.UNPLUGGED);
        } else if (thread.vcpu().isPresent() && flaws.ask(thread, STATUS).isPresent()) {
            flaws.apply(thread, VmmRules.WAITS);
        }
        return shown;
    }

    private boolean isTask(VmThread thread) {
        return tasks.contains(String.valueOf(thread.tid()));
    }

    /** A process in exit that may have a device that no process shows, or one that does not show whether it is in exit. */
    public static Optional<Link> inExit(HostFacts host) {
        return host.files().list("proc").stream()
                .filter(pid -> pid.matches("\\d{1,9}"))
                .flatMap(pid -> inExit(host, Integer.parseInt(pid)).stream())
                .min(Comparator.comparing(link -> List.of(Link.State.BROKEN, Link.State.DOUBTFUL, Link.State.NOT_SHOWN)
                        .indexOf(link.state())));
    }

    private static Optional<Link> inExit(HostFacts host, int pid) {
        VmThread process = new VmThread(new Fact.Facts(host), pid, pid, OptionalInt.empty(), VmThread.Kind.THREAD);
        Flaws flaws = new Flaws();
        Optional<ThreadStat> stat = flaws.ask(process, STAT);
        if (stat.isEmpty()) {
            return process.hasEnded()
                    ? Optional.empty()
                    : Optional.of(flaws.link(
                            Hop.VMM, process.evidence(STAT.file()), "", "no visible process has the device open"));
        }
        return stat.get().isExiting()
                ? flaws.apply(process, VmmRules.EXITING).flawed(Hop.VMM, Optional.empty())
                : Optional.empty();
    }
}
