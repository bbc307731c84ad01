/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.sources.CpuList;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BiFunction;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A VMM thread: the process itself, a vCPU thread, a worker, or another one. A thread may end while it is read.
 *
 * <p>Source: {@code task_state_array} in fs/proc/array.c, {@code proc_pid_schedstat()} in fs/proc/base.c.
 */
record VmThread(Fact.Facts facts, int pid, int tid, OptionalInt vcpu, Kind kind) implements Fact.Subject {
    static final String ONLINE = "sys/devices/system/cpu/online";

    /** A tick, in ns. */
    private static final long TICK = 10_000_000;
    /** The limit of a thread's wait, in percent of the time in which it was ready to run. */
    private static final int MOST_WAITED = 33;
    /** Waits for a CPU below this time are ignored, in ns. */
    private static final long SHORT_WAIT_NANOS = 100_000_000;

    /** Kinds of work that a thread does for the guest. */
    enum Kind {
        /** A thread of the VMM. */
        THREAD,
        /** A worker of vhost, which is a thread of the VMM since Linux 6.4. */
        WORKER,
        KERNEL_WORKER,
        /** A thread of another process, which serves devices of the guest. */
        BACK_END
    }

    /** A thread's time on a CPU and waiting for one, in ns. */
    record Times(long ran, long waited) {
        static Optional<Times> parse(String text) {
            String[] words = text.strip().split("\\s+");
            return words.length < 2 || !words[0].matches("\\d{1,18}") || !words[1].matches("\\d{1,18}")
                    ? Optional.empty()
                    : Optional.of(new Times(Long.parseLong(words[0]), Long.parseLong(words[1])));
        }

        /** The share of the time in which it was ready to run, in percent. */
        long share() {
            return ran + waited == 0 ? 0 : Math.round(100.0 * waited / (ran + waited));
        }
    }

    @Override
    public String name(String word) {
        return switch (word) {
            case "thread" -> !isOfKernel() && !isLeader() ? pid + "/task/" + tid : String.valueOf(tid);
            case "process" -> String.valueOf(pid);
            case "memory" -> memory();
            default -> throw new IllegalArgumentException(word);
        };
    }

    boolean isLeader() {
        return tid == pid;
    }

    /** Whether the guest needs the thread: the first one, or that of a vCPU. */
    boolean isNeeded() {
        return isLeader() || vcpu.isPresent();
    }

    boolean isOfKernel() {
        return kind == Kind.KERNEL_WORKER;
    }

    /** Whether it serves queues: one of QEMU's iothreads, a worker of vhost, or a back end. */
    boolean isHelper() {
        return kind != Kind.THREAD || !isNeeded() && name().startsWith("IO ");
    }

    private String name() {
        return STAT.of(this).known().map(ThreadStat::name).orElse("");
    }

    String called() {
        if (vcpu.isPresent()) {
            return "the thread of vcpu " + vcpu.getAsInt() + " (" + tid + ")";
        }
        String process = isLeader() ? "process " : "thread ";
        return switch (kind) {
            case WORKER, KERNEL_WORKER -> "vhost worker " + tid;
            case BACK_END -> process + tid + " (" + name() + "), which serves the guest's devices,";
            case THREAD ->
                process
                        + tid
                        + (isNeeded() ? "" : " (" + name() + ")" + (isHelper() ? ", which serves virtqueues," : ""));
        };
    }

    // Facts

    // spotless:off: a table
    static final Fact<VmThread, String> STATUS = Fact.text("proc/{thread}/status", VmThread::isNeeded,
        Fact.form(text -> !ThreadStat.line(text, "State").isEmpty()));
    /** A task that waits no more hangs no more. {@code watchdog_timer_fn()} in kernel/watchdog.c, {@code check_hung_task()} in kernel/hung_task.c. */
    static final Fact<VmThread, KernelLog.Recent> LOCKUP = new Fact<>(KernelLog.FILE, thread -> Fact.of(thread.host().log()
        .recent(KernelLog.SHORT_SECONDS, 0, Pattern.compile("lockup .{1,60}:" + thread.tid() + "\\]$"
        + (thread.state() == 'D' ? "|:" + thread.tid() + " blocked for more than" : "")))));
    static final Fact<VmThread, KernelLog.Recent> SPLIT = new Fact<>(KernelLog.FILE, thread ->
        thread.files().text("proc/sys/kernel/split_lock_mitigate").filter("1"::equals).isEmpty() ? Known.none() : Fact.of(thread.host()
        .log().recent(KernelLog.BOOT_SECONDS, 0, Pattern.compile("/" + thread.tid() + " took a split_lock trap"))));
    static final Fact<VmThread, ThreadStat> STAT =
        Fact.text("proc/{thread}/stat", thread -> thread.isNeeded() || !thread.hasEnded(), ThreadStat::parse);
    static final Fact<VmThread, List<String>> TASKS = new Fact<>("proc/{process}/task", thread ->
        thread.host().threads(thread.pid).isEmpty() ? Fact.missing(thread.files(), thread.path("proc/{process}/task"))
        : new Known.Observed<>(thread.host().threads(thread.pid)));
    /** Kernel function where a vCPU that runs no guest code waits; 0 if the kernel names none. */
    static final Fact<VmThread, String> WCHAN =
        Fact.text("proc/{thread}/wchan", thread -> true, Fact.form(text -> text.equals("0") || text.matches("[A-Za-z_][\\w.$]{1,126}")));
    /** The CPUs of the node that has all memory that it may use. */
    static final Fact<VmThread, BitSet> NEAR = Fact.cpus("sys/devices/system/node/node{memory}/cpulist",
        thread -> !thread.files().list("sys/devices/system/node").isEmpty());
    static final Fact<VmThread, BitSet> ISOLATED = Fact.isolated();
    static final Fact<VmThread, String> CGROUP =
        Fact.text("proc/{thread}/cgroup", Fact.form(ControlGroups::hasGroup));
    static final Fact<VmThread, Times> TIMES =
        Fact.text("proc/{thread}/schedstat", thread -> thread.isPinned() || thread.isReady(), Times::parse);
    /** All times are 0 if the kernel does not measure them ({@code sched_info_on()}). */
    static final Fact<VmThread, Boolean> MEASURED = new Fact<>(TIMES.file(), thread -> !thread.hasNeverRun() ? Known.none()
        : thread.isMeasured() ? new Known.Observed<>(true)
        : new Known.Unknown<>("/" + thread.path(TIMES.file()) + " has no times", "boot the host with delayacct"));
    /** The process that runs on the only CPU of its affinity. A short-lived one did not keep it waiting. */
    static final Fact<VmThread, String> NEIGHBOUR = new Fact<>(TIMES.file(), thread ->
        !thread.waits() || !thread.isPinned() || !thread.isReady() ? Known.none()
        : thread.running(Integer.parseInt(thread.allowed()), TIMES.in(thread).waited() / 2 / TICK));
    /** Other processes run on each CPU of its affinity: this shows the cause of the wait. */
    static final Fact<VmThread, String> NEIGHBOURS = new Fact<>(TIMES.file(), thread ->
        thread.waits() && !thread.isAlone() && thread.isReady() ? thread.crowded() : Known.none());
    /** A thread that goes before it on its CPU. */
    static final Fact<VmThread, String> ABOVE = new Fact<>(STAT.file(), thread ->
        STAT.of(thread).known().map(own -> above(thread.host(), own)).orElseGet(Known::none));
    // spotless:on

    /** The vCPU or process with a higher real-time priority that runs on the CPU of a thread that is ready to run. */
    static Known<String> above(HostFacts host, ThreadStat own) {
        return !own.isRunnable()
                ? Known.none()
                : running(
                        host,
                        0,
                        thread -> thread.cpu() == own.cpu() && thread.priority() > own.priority(),
                        (who, thread) -> thread.name() + ", priority " + thread.priority());
    }

    /** Whether a process that was listed has no file any more. */
    private static boolean hasEnded(HostFiles files, String pid) {
        return files.reading("proc/" + pid) == HostFiles.Reading.ABSENT;
    }

    /** Threads of QEMU's pool end when they have nothing to do. */
    boolean hasEnded() {
        return hasEnded(files(), path("{thread}"));
    }

    private String line(String name) {
        return STATUS.of(this)
                .known()
                .map(status -> ThreadStat.line(status, name))
                .orElse("");
    }

    char state() {
        return (line("State") + "?").charAt(0);
    }

    boolean dumpsCore() {
        return line("CoreDumping").equals("1");
    }

    long kibis(String name) {
        String[] words = line(name).split(" ");
        return words[0].matches("\\d{1,15}") ? Long.parseLong(words[0]) : 0;
    }

    long swapped() {
        return kibis("VmSwap");
    }

    boolean isOfOneNode() {
        return memory().matches("\\d{1,4}");
    }

    /** Whether the CPUs that it may run on are of other nodes than its memory. */
    boolean isFarFromMemory() {
        BitSet near = NEAR.in(this);
        return !near.isEmpty()
                && CpuList.parse(allowed())
                        .filter(cpus -> !near.intersects(cpus))
                        .isPresent();
    }

    String memory() {
        return line("Mems_allowed_list");
    }

    boolean isReady() {
        return state() == 'R';
    }

    String allowed() {
        return line("Cpus_allowed_list");
    }

    /** Whether it may run on one CPU only. */
    boolean isAlone() {
        return allowed().matches("\\d{1,5}");
    }

    /** The same on a host with several CPUs. */
    boolean isPinned() {
        return isAlone()
                && files().text(ONLINE)
                        .filter(online -> online.strip().equals(allowed()))
                        .isEmpty();
    }

    /** Whether it may run on several CPUs, and the scheduler balances between none of them (isolcpus). */
    boolean isIsolated() {
        BitSet isolated = ISOLATED.in(this);
        return CpuList.parse(allowed())
                .filter(all -> CpuList.contains(isolated, all))
                .isPresent();
    }

    /** The CPUs for which it waits: all that it may use, or the one that it was on. */
    private BitSet awaited() {
        if (isAlone() || NEIGHBOURS.is(this, value -> true)) {
            return CpuList.parse(allowed()).orElseGet(BitSet::new);
        }
        BitSet cpu = new BitSet();
        STAT.of(this).known().filter(stat -> isReady() || stat.isRunnable()).ifPresent(stat -> cpu.set(stat.cpu()));
        return cpu;
    }

    /**
     * A remedy with the online CPUs that no vCPU has for itself and for which it does not wait; the word CPUS if no file
     * shows those online. Of isolated CPUs, between which the kernel moves no thread, one, if it
     * was on some or no other is free.
     */
    Remedy onFree(String name, int id) {
        Optional<BitSet> free = CpuList.parse(files().text(ONLINE).orElse(""));
        free.ifPresent(cpus -> host().vms().all().forEach(vm -> vm.vcpus().stream()
                .flatMap(vcpu -> vm.thread(files(), vcpu).stream().boxed())
                .map(thread -> new VmThread(new Fact.Facts(host()), vm.pid(), thread, OptionalInt.empty(), Kind.THREAD))
                .filter(VmThread::isAlone)
                .forEach(thread -> cpus.clear(Integer.parseInt(thread.allowed())))));
        free.ifPresent(cpus -> cpus.andNot(awaited()));
        free.ifPresent(cpus -> ISOLATED.of(this).known().ifPresent(isolated -> {
            BitSet quiet = (BitSet) cpus.clone();
            quiet.and(isolated);
            if (name.equals("@pin") && !quiet.isEmpty() && (isIsolated() || quiet.equals(cpus))) {
                cpus.clear();
                cpus.set(quiet.nextSetBit(0));
            } else if (!CpuList.contains(isolated, cpus)) {
                cpus.andNot(isolated);
            }
        }));
        return free.filter(BitSet::isEmpty).isPresent()
                ? Rows.remedy("@no-free-cpu")
                : Rows.remedy(name, free.map(CpuList::list).orElse("CPUS"), id);
    }

    boolean isTraced() {
        return line("TracerPid").matches("[1-9]\\d{0,8}");
    }

    String tracer() {
        return isTraced() ? "process " + line("TracerPid") + named(line("TracerPid")) : "another process";
    }

    private String named(String other) {
        return files().text("proc/" + other + "/stat")
                .flatMap(ThreadStat::parse)
                .map(stat -> " (" + stat.name() + ")")
                .orElse("");
    }

    /** The function of the kernel in which it sleeps; "" if it is not shown. */
    String place() {
        return files().text(path("proc/{thread}/wchan"))
                .filter(at -> !at.isEmpty() && !at.equals("0"))
                .map(at -> " in " + at)
                .orElse("");
    }

    boolean hasNeverRun() {
        return isReady() && TIMES.is(this, times -> times.ran() == 0 && times.waited() == 0);
    }

    private boolean isMeasured() {
        return Stream.concat(
                        Stream.of(""),
                        host().threads(pid).stream()
                                .limit(VmmCheck.MOST_THREADS)
                                .map(thread -> "task/" + thread + "/"))
                .anyMatch(task -> files().text("proc/" + pid + "/" + task + "schedstat")
                        .filter(text -> text.matches("[1-9]\\d* .*"))
                        .isPresent());
    }

    /** Whether it has waited for a CPU. */
    boolean waits() {
        return TIMES.is(this, times -> times.waited() >= SHORT_WAIT_NANOS && times.share() >= MOST_WAITED);
    }

    long share() {
        return TIMES.in(this).share();
    }

    private Known<String> crowded() {
        Optional<BitSet> cpus = CpuList.parse(allowed());
        Optional<BitSet> online = files().text(ONLINE).flatMap(CpuList::parse);
        online.ifPresent(on -> cpus.ifPresent(all -> all.and(on)));
        Known<String> last = Known.none();
        for (int cpu : cpus.orElseGet(BitSet::new).stream().toArray()) {
            last = running(cpu, 0);
            if (last.known().isEmpty()) {
                return online.isEmpty() && last.equals(Known.none()) ? Fact.missing(files(), ONLINE) : last;
            }
        }
        return last;
    }

    /**
     * Another process that runs on a CPU now.
     *
     * @param ticks the least CPU time of the process
     */
    private Known<String> running(int cpu, long ticks) {
        Predicate<ThreadStat> condition = thread -> thread.cpu() == cpu && thread.ticks() >= ticks;
        BiFunction<String, ThreadStat, String> says =
                (who, thread) -> who + (who.endsWith(")") ? "" : " (" + thread.name() + ")");
        Known<String> first = running(host(), pid, condition, says);
        if (first.known().isPresent()) {
            return first;
        }
        Known<String> other = ofOthers(host(), pid, condition, says);
        return other instanceof Known.Unknown || other.known().isPresent() ? other : first;
    }

    /**
     * The first thread that runs now and is such, of the vCPUs of all guests and the first threads of all processes. Threads
     * of the kernel run only for moments.
     *
     * @param except the process that is left out; 0 for none
     */
    private static Known<String> running(
            HostFacts host, int except, Predicate<ThreadStat> condition, BiFunction<String, ThreadStat, String> says) {
        Map<String, String> files = new LinkedHashMap<>();
        for (VmProcess vm : host.vms().all()) {
            vm.vcpus().stream().filter(vcpu -> vm.pid() != except).forEach(vcpu -> vm.thread(host.files(), vcpu)
                    .ifPresent(tid -> files.put(
                            "proc/" + vm.pid() + "/task/" + tid + "/stat",
                            vm.pid() + " (" + vm.name() + ", vcpu " + vcpu.id() + ")")));
        }
        String self = host.files().link("proc/self").orElse("");
        host.files().list("proc").stream()
                .filter(pid -> pid.matches("\\d{1,9}") && !pid.equals(self) && !pid.equals(String.valueOf(except)))
                .forEach(pid -> files.put("proc/" + pid + "/stat", pid));
        Known<String> hidden = Known.none();
        for (Map.Entry<String, String> entry : files.entrySet()) {
            Optional<ThreadStat> stat = host.files().text(entry.getKey()).flatMap(ThreadStat::parse);
            if (stat.filter(now -> now.isRunnable() && !now.isOfKernel() && condition.test(now))
                    .isPresent()) {
                return new Known.Observed<>(says.apply(entry.getValue(), stat.get()));
            }
            if (stat.isEmpty()
                    && !entry.getKey().contains("/task/")
                    && !hasEnded(host.files(), entry.getValue().split(" ")[0])) {
                hidden = Fact.missing(host.files(), entry.getKey());
            }
        }
        return hidden;
    }

    /** The same among the other threads of all processes, of which a host has thousands. */
    private static Known<String> ofOthers(
            HostFacts host, int except, Predicate<ThreadStat> condition, BiFunction<String, ThreadStat, String> says) {
        Known<String> hidden = Known.none();
        for (OtherThread thread : host.once("other threads that run", () -> others(host))) {
            if (thread.pid.equals(String.valueOf(except))) {
                continue;
            }
            if (thread.stat.isEmpty()) {
                hidden = hidden instanceof Known.Unknown ? hidden : Fact.missing(host.files(), thread.file());
            } else if (condition.test(thread.stat.get())) {
                return new Known.Observed<>(says.apply(thread.pid + ", thread " + thread.tid, thread.stat.get()));
            }
        }
        return hidden;
    }

    /** @param stat empty if it is refused */
    private record OtherThread(String pid, String tid, Optional<ThreadStat> stat) {
        static String file(String pid, String tid) {
            return "proc/" + pid + "/task/" + tid + "/stat";
        }

        String file() {
            return file(pid, tid);
        }
    }

    /** The threads of all processes that run now or hide whether they do, but for first threads. */
    private static List<OtherThread> others(HostFacts host) {
        List<OtherThread> all = new ArrayList<>();
        for (String pid : host.files().list("proc")) {
            if (pid.matches("\\d{1,9}")) {
                for (String tid : host.files().list("proc/" + pid + "/task")) {
                    String file = OtherThread.file(pid, tid);
                    Optional<String> text =
                            tid.equals(pid) ? Optional.empty() : host.files().text(file);
                    Optional<ThreadStat> runs =
                            text.flatMap(ThreadStat::parse).filter(now -> now.isRunnable() && !now.isOfKernel());
                    boolean hides = !tid.equals(pid)
                            && text.isEmpty()
                            && host.files().reading(file) == HostFiles.Reading.DENIED;
                    if (runs.isPresent() || hides) {
                        all.add(new OtherThread(pid, tid, runs));
                    }
                }
            }
        }
        return all;
    }
}
