/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Guests.Worker;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/**
 * The link of the process that runs the VM: whether its threads may run at all. A thread may end while it is read. For one
 * use by one thread.
 *
 * <p>Source: {@code task_state_array} in fs/proc/array.c, {@code proc_pid_schedstat()} in fs/proc/base.c.
 */
final class VmmLink {
    /** The limit of checked threads beside those of vCPUs, because a process may have ten thousand. */
    static final int MOST_THREADS = 64;

    private static final int MOST_VCPUS = 1024;
    private static final int MOST_DIGITS = 9;
    /** The directories of VMs in debugfs. */
    static final String KVM = "sys/kernel/debug/kvm/";

    private final HostFiles files;
    private final HostFacts host;
    private final VmProcess process;
    private final String path;
    private final Flaws looks;
    private final ControlGroups cgroups;
    private final CpuWaits waits;

    private VmmLink(HostFacts host, VmProcess process) {
        this.host = host;
        this.files = host.files();
        this.process = process;
        this.path = "proc/" + process.pid() + "/";
        this.looks = new Flaws(files);
        this.cgroups = new ControlGroups(files, looks);
        this.waits = new CpuWaits(host, process, looks);
    }

    /** Checks a process that holds a VM. */
    static Link of(HostFacts host, VmProcess process) {
        return of(host, process, List.of());
    }

    /** Checks a process that holds a VM, and the workers that serve its virtio queues. */
    static Link of(HostFacts host, VmProcess process, List<Worker> workers) {
        return new VmmLink(host, process).link(workers);
    }

    /** The thread that runs a vCPU, by its name or from KVM's debugfs. Empty if neither shows it. */
    static OptionalInt thread(HostFacts host, VmProcess process, VcpuFile vcpu) {
        return vcpu.thread().isPresent()
                ? vcpu.thread()
                : process.vms().stream()
                        .flatMap(vm ->
                                host
                                        .files()
                                        .text(KVM + process.pid() + "-" + vm + "/vcpu" + vcpu.id() + "/pid")
                                        .stream())
                        .filter(text -> text.matches("[1-9]\\d{0,8}"))
                        .mapToInt(Integer::parseInt)
                        .findFirst();
    }

    private Link link(List<Worker> workers) {
        Map<Integer, String> threads = new LinkedHashMap<>();
        threads.put(process.pid(), "process " + process.pid());
        List<String> all = host.threads(process.pid());
        Map<Integer, Integer> vcpus = new LinkedHashMap<>();
        process.vcpus().stream().limit(MOST_VCPUS).forEach(vcpu -> thread(host, process, vcpu)
                .ifPresent(thread -> {
                    vcpus.put(thread, vcpu.id());
                    threads.put(thread, "the thread of vcpu " + vcpu.id() + " (" + thread + ")");
                }));
        if (all.isEmpty()) {
            looks.absent(path + "task");
        }
        int others = 0;
        for (String name : all) {
            if (others < MOST_THREADS && name.matches("\\d{1," + MOST_DIGITS + "}")) {
                others += threads.putIfAbsent(Integer.parseInt(name), "thread " + name) == null ? 1 : 0;
            }
        }
        Optional<String> group = looks.text(path + "cgroup", ControlGroups::hasGroup);
        vcpus.keySet().stream()
                .map(thread -> path + "task/" + thread + "/cgroup")
                .filter(file -> files.text(file).filter(ControlGroups::hasGroup).isEmpty())
                .findFirst()
                .ifPresent(looks::absent);
        cgroups.of(
                group,
                vcpus.keySet().stream()
                        .flatMap(thread -> files.text(path + "task/" + thread + "/cgroup").stream())
                        .toList());
        boolean whole = looks.text(path + "status", VmmLink::hasState).isPresent();
        int seen = 0;
        Set<Integer> needed = new LinkedHashSet<>(vcpus.keySet());
        needed.add(process.pid());
        Optional<String> statless = Optional.empty();
        for (Map.Entry<Integer, String> thread : threads.entrySet()) {
            boolean isLeader = thread.getKey() == process.pid();
            String directory = directory(thread.getKey());
            Optional<String> status = files.text(directory + "status").filter(VmmLink::hasState);
            Integer vcpu = vcpus.get(thread.getKey());
            if (status.isPresent()) {
                seen++;
                state(thread.getValue(), directory, status.get(), isLeader || vcpu != null);
                if (needed.contains(thread.getKey())) {
                    Optional<ThreadStat> stat = files.text(directory + "stat").flatMap(ThreadStat::parse);
                    if (stat.isEmpty()) {
                        statless = statless.or(() -> Optional.of(directory + "stat"));
                    } else if (!looks.isBroken() && stat.get().isExiting()) {
                        looks.broken(
                                directory + "stat",
                                thread.getValue() + " is in exit (PF_EXITING) and has not ended",
                                exit(String.valueOf(process.pid())));
                    }
                }
            }
            if (vcpu != null && !isLeader) {
                if (!all.isEmpty() && !all.contains(String.valueOf(thread.getKey()))) {
                    gone(
                            thread.getValue(),
                            vcpu == 0 || vcpus.keySet().stream().noneMatch(one -> all.contains(String.valueOf(one))));
                } else if (status.isEmpty()) {
                    looks.absent(directory + "status");
                }
            }
            if (vcpu != null && status.isPresent()) {
                waits.look(thread.getValue(), directory, status.get());
            }
        }
        statless.ifPresent(looks::absent); // the first of equal threads is enough
        if (!all.isEmpty()) {
            missing(vcpus);
        }
        outside(vcpus);
        workers.forEach(this::worker);
        limits();
        if (whole && seen > 0) {
            looks.fine((seen == 1 ? "its thread is" : seen + " of its threads were looked at, and none is")
                    + (seen == 1 ? " neither stopped nor traced" : " stopped or traced"));
        }
        return looks.link(Hop.VMM, Evidence.observed("/proc/" + process.pid()), "process " + process.pid(), "");
    }

    private String directory(int thread) {
        return thread == process.pid() ? path : path + "task/" + thread + "/";
    }

    /** A VMM keeps the descriptor of a vCPU that was unplugged, and ends its thread; the first vCPU stays. */
    private void gone(String name, boolean needed) {
        if (needed) {
            looks.broken(path + "task", name + " is gone: the vCPU runs no more", restart());
        } else {
            looks.doubt(
                    path + "task",
                    name + " is gone: the vCPU runs no more, which is right only if it was unplugged",
                    Remedy.look("ask the VMM for its vCPUs (QEMU: info cpus)"));
        }
    }

    private static Remedy restart() {
        return Remedy.of(Change.COMMAND, "restart the guest", Takes.VMM_RESTART, "the guest is interrupted");
    }

    /**
     * The process that hangs in exit and so still has a device that no process shows. Any other process in exit is a
     * doubt, because it may end in a moment.
     */
    static Optional<Link> inExit(HostFacts host) {
        Optional<Link> doubt = Optional.empty();
        for (String pid : host.files().list("proc")) {
            Optional<ThreadStat> exiting = pid.matches("\\d{1,9}")
                    ? host.files()
                            .text("proc/" + pid + "/stat")
                            .flatMap(ThreadStat::parse)
                            .filter(ThreadStat::isExiting)
                    : Optional.empty();
            if (exiting.isPresent()) {
                ThreadStat stat = exiting.get();
                boolean hangs = stat.state() == 'D' || stat.state() == 'Z';
                Link link = new Link(
                        Hop.VMM,
                        hangs ? Link.State.BROKEN : Link.State.DOUBTFUL,
                        Optional.of(Evidence.observed("/proc/" + pid + "/stat")),
                        Optional.empty(),
                        "no process is seen that has the device open, and process " + pid + " (" + stat.name() + ")"
                                + (stat.state() == 'Z'
                                        ? " is a zombie with threads that have not ended"
                                        : " is in exit (PF_EXITING)")
                                + ": it may have the device",
                        List.of(exit(pid)));
                if (hangs) {
                    return Optional.of(link);
                }
                doubt = doubt.or(() -> Optional.of(link));
            }
        }
        return doubt;
    }

    private static Remedy exit(String pid) {
        return Remedy.look("cat /proc/" + pid + "/stack; dmesg | grep -i 'blocked for more'");
    }

    private static boolean hasState(String status) {
        return !ThreadStat.line(status, "State").isEmpty();
    }

    /** @param runs whether the guest needs the thread: the first one, or that of a vCPU */
    private void state(String name, String directory, String status, boolean runs) {
        String state = ThreadStat.line(status, "State");
        String tracer = ThreadStat.line(status, "TracerPid");
        boolean traced = tracer.matches("[1-9]\\d{0,8}");
        String by = traced
                ? "process " + tracer
                        + files.text("proc/" + tracer + "/stat")
                                .flatMap(ThreadStat::parse)
                                .map(stat -> " (" + stat.name() + ")")
                                .orElse("")
                : "another process";
        String file = directory + "status";
        switch (state.charAt(0)) {
            case 'T' -> {
                if (runs && !looks.isBroken()) {
                    looks.broken(file, name + " is stopped by a signal", Remedy.command("kill -CONT " + process.pid()));
                }
            }
            case 't' -> {
                if (!looks.isBroken()) {
                    looks.broken(
                            file,
                            name + " is stopped by a tracer, " + by,
                            Remedy.command("let the tracer go on or end it: " + by));
                }
            }
            case 'Z', 'X', 'x' -> {
                if (runs && !looks.isBroken()) {
                    long others = host.threads(process.pid()).size() - 1L;
                    looks.broken(
                            file,
                            name + " has ended and is a zombie"
                                    + (name.startsWith("process") && others > 0
                                            ? ": threads of it have not ended"
                                            : ""),
                            restart());
                }
            }
            case 'D' -> {
                if (cgroups.isFrozen() || looks.isBroken() || !runs) {
                    return;
                }
                uninterruptible(
                        file, name, directory, name.startsWith("process") ? "" : ": it takes no interrupt meanwhile");
            }
            default -> {
                if (traced) {
                    looks.doubt(
                            file,
                            "process " + process.pid() + " is traced by " + by + ", which slows it",
                            Remedy.command("end the tracer: " + by));
                }
            }
        }
    }

    /** One look proves nothing, because reading a page from a disk takes a moment. */
    private void uninterruptible(String file, String name, String directory, String result) {
        looks.doubt(
                file,
                name + " sleeps uninterruptibly"
                        + files.text(directory + "wchan")
                                .filter(at -> !at.isEmpty() && !at.equals("0"))
                                .map(at -> " in " + at)
                                .orElse("")
                        + result,
                Remedy.look("look again: a moment is harmless; cat /" + directory
                        + "stack; dmesg | grep -i 'blocked for more'"));
    }

    private void worker(Worker worker) {
        String directory = worker.ofKernel() ? "proc/" + worker.tid() + "/" : directory(worker.tid());
        String file = directory + "stat";
        String name = "the worker " + worker.tid() + " of vhost";
        char state = files.text(file)
                .flatMap(ThreadStat::parse)
                .map(ThreadStat::state)
                .orElse('?');
        if (state == '?') {
            looks.absent(file);
        } else if (state == 'D' && !cgroups.isFrozen() && !looks.isBroken()) {
            uninterruptible(file, name, directory, ": it serves no queue of virtio meanwhile");
        } else if ("TtZXx".indexOf(state) >= 0 && !looks.isBroken()) {
            looks.broken(
                    file,
                    name + " does not run (its state is " + state + "): it serves no queue of virtio",
                    state == 'T' && !worker.ofKernel()
                            ? Remedy.command("kill -CONT " + process.pid())
                            : Remedy.look("cat /" + directory + "stack"));
        }
    }

    /**
     * The thread of a vCPU that sleeps in KVM is in a function such as kvm_vcpu_block(), the thread of a paused guest
     * is not.
     */
    private void outside(Map<Integer, Integer> threads) {
        Map<String, String> places = new LinkedHashMap<>();
        threads.keySet().stream()
                .map(thread -> directory(thread) + "wchan")
                .forEach(file -> places.put(file, files.text(file).orElse("")));
        if (places.values().stream().anyMatch(at -> !at.isEmpty() && !at.startsWith("futex_"))) {
            return;
        }
        Optional<String> hidden = places.keySet().stream()
                .filter(file -> places.getOrDefault(file, "").isEmpty())
                .findFirst();
        hidden.ifPresent(looks::absent);
        if (hidden.isEmpty() && !places.isEmpty()) {
            looks.doubt(
                    path + "task",
                    "the thread of each vCPU waits for another thread of the VMM, and none runs its vCPU: the guest may be"
                            + " paused",
                    Remedy.command("resume the guest (libvirt: virsh resume; QEMU: cont)"));
        }
    }

    /** A vCPU without a thread, if other vCPUs have one. */
    private void missing(Map<Integer, Integer> threads) {
        for (VcpuFile vcpu : process.vcpus()) {
            // A vCPU that no thread has ever run may be parked until it is plugged.
            boolean parked = process.vms().stream()
                    .anyMatch(vm -> files.text(KVM + process.pid() + "-" + vm + "/vcpu" + vcpu.id() + "/pid")
                            .filter("0"::equals)
                            .isPresent());
            if (!parked && threads.isEmpty()) {
                looks.unseen("the threads of vCPUs, which no file names", host.forDebugfs(Guests.NAMES));
            } else if (!parked && threads.size() < MOST_VCPUS && !threads.containsValue(vcpu.id())) {
                looks.doubt(
                        path + "task",
                        "no thread is named after vcpu " + vcpu.id()
                                + ", as those of other vCPUs are: nothing may run it",
                        Remedy.look("ask the VMM for its vCPUs (QEMU: info cpus)"));
            }
        }
    }

    private void limits() {
        looks.text(path + "limits", text -> text.contains("Max open files "));
        Optional<Long> most = host.limits().of(process).openFiles().known();
        int open = files.list(path + "fd").size();
        if (most.isPresent() && open >= most.get()) {
            looks.doubt(
                    path + "limits",
                    "the process has " + open + " files open, and may have " + most.get()
                            + ": it gets no eventfd for another vector",
                    Remedy.command("prlimit --nofile=65536 --pid " + process.pid()));
        }
    }
}
