/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;
import static io.kvmirq.diag.rules.VmThread.*;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.Guests.Worker;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import io.kvmirq.host.facts.VmProcesses;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The rules of the process that runs the VM: whether its threads may run at all. For one use by one thread. */
public final class VmmRules {
    /** The limit of checked threads beside those of vCPUs, because a process may have ten thousand. */
    static final int MOST_THREADS = 64;

    private static final int MOST_VCPUS = 1024;
    /** The default is 0; 10 leaves a tenth of a CPU beside a process of the default. */
    private static final int MANY_NICE = 10;
    /** PCI addresses, mdevs and files of vDPA devices, in either form of QEMU's options. */
    private static final Pattern GIVEN = Pattern.compile(
            "(?<=host[\"=:]{1,3})(\\p{XDigit}{4}:)?\\p{XDigit}{2}:[01]\\p{XDigit}\\.[0-7]"
                    + "|(?<=,)vhost=on(?=,|$)|(?<=vhostdev[\"=:]{1,3})/dev/vhost-vdpa-\\d+|(?<=sysfsdev[\"=:]{1,3})/sys/bus/mdev/devices/[\\w-]+");

    private static final int MOST_DIGITS = 9;
    /** The directories of VMs in debugfs. */
    static final String KVM = "sys/kernel/debug/kvm/";

    private final HostFacts host;
    private final VmProcess process;
    private final Flaws flaws;
    /** The threads of vCPUs that are known. */
    private final Map<Integer, VmThread> vcpus = new LinkedHashMap<>();

    private final List<String> tasks;

    private VmmRules(HostFacts host, VmProcess process) {
        this.host = host;
        this.process = process;
        this.flaws = new Flaws();
        this.tasks = host.threads(process.pid());
        process.vcpus().stream().limit(MOST_VCPUS).forEach(vcpu -> thread(host, process, vcpu)
                .ifPresent(tid -> vcpus.put(tid, thread(process.pid(), tid, OptionalInt.of(vcpu.id())))));
    }

    private Vmm vmm(OptionalInt vcpu) {
        return new Vmm(new Fact.Facts(host), process, vcpu, tasks, vcpus);
    }

    private VmThread thread(int pid, int tid, OptionalInt vcpu) {
        return new VmThread(new Fact.Facts(host), pid, tid, vcpu, VmThread.Kind.THREAD);
    }

    /** The process, with the vCPUs whose threads are known; or one of its vCPUs. */
    private record Vmm(
            Fact.Facts facts, VmProcess process, OptionalInt vcpu, List<String> tasks, Map<Integer, VmThread> vcpus)
            implements Fact.Subject {
        @Override
        public String name(String word) {
            return String.valueOf(process.pid());
        }

        int id() {
            return vcpu.orElseThrow();
        }

        int open() {
            return files().list(path("proc/{process}/fd")).size();
        }

        /** The limit of open files(). */
        long most() {
            return host().limits().of(process).openFiles().known().orElse(Long.MAX_VALUE);
        }

        /** A vCPU that no thread has ever run may be parked until it is plugged. */
        boolean isParked() {
            return process.vms().stream()
                    .anyMatch(vm -> files().text(KVM + process.pid() + "-" + vm + "/vcpu" + id() + "/pid")
                            .filter("0"::equals)
                            .isPresent());
        }

        /** The names of threads, if they tell which one runs a vCPU. */
        Known<Boolean> hasThread() {
            if (tasks.isEmpty() || vcpus.size() >= MOST_VCPUS) {
                return Known.none();
            }
            if (vcpus.values().stream().anyMatch(thread -> thread.vcpu().equals(vcpu))) {
                return new Known.Observed<>(true);
            }
            Optional<String> unread = tasks.stream()
                    .map(tid -> path("proc/{process}/task/") + tid + "/comm")
                    .filter(file -> files().text(file).orElse("").isEmpty())
                    .findFirst();
            if (unread.isPresent()) {
                return Fact.missing(files(), unread.get());
            }
            if (isParked()) {
                return Known.none();
            }
            return vcpus.keySet().stream().anyMatch(this::isNamed)
                    ? new Known.Observed<>(false)
                    : new Known.Unknown<>("the threads of vCPUs, which no file names", host().forDebugfs(Guests.NAMES));
        }

        private boolean isNamed(int tid) {
            return files().text(path("proc/{process}/task/") + tid + "/comm")
                    .filter(VmProcesses::isVcpu)
                    .isPresent();
        }

        /** Devices and files on the command line that sysfs does not have, or the VMM not open. */
        Known<String> missing() {
            List<String> given = process.arguments().stream()
                    .flatMap(word -> GIVEN.matcher(word).results())
                    .map(found -> found.group().replace("vhost=on", "/dev/vhost-net"))
                    .distinct()
                    .toList();
            String missing = given.stream().filter(this::isMissing).collect(Collectors.joining(", "));
            if (!missing.isEmpty()) {
                return new Known.Observed<>(missing);
            }
            return process.arguments().stream().allMatch(String::isEmpty)
                    ? Fact.missing(files(), path("proc/{process}/cmdline"))
                    : given.stream()
                            .flatMap(name -> address(name).stream())
                            .filter(host()::hides)
                            .findFirst()
                            .<Known<String>>map(
                                    device -> Fact.missing(files(), PciFunction.DEVICES + device + "/vendor"))
                            .orElseGet(Known::none);
        }

        private static Optional<PciAddress> address(String name) {
            return name.contains("/")
                    ? Optional.empty()
                    : Optional.of(PciAddress.parse((name.length() < 12 ? "0000:" : "") + name));
        }

        private boolean isMissing(String name) {
            if (name.startsWith("/sys/")) {
                return files().list(name.substring(1)).isEmpty()
                        && !files().list("sys/bus").isEmpty();
            }
            if (name.startsWith("/dev/")) {
                String fds = path("proc/{process}/fd");
                return open() > 0
                        && files().list(fds).stream()
                                .flatMap(fd -> files().link(fds + "/" + fd).stream())
                                .noneMatch(name::equals);
            }
            PciAddress address = address(name).orElseThrow();
            return !host().pciAddresses().isEmpty()
                    && !host().hides(address)
                    && host().pci(address).filter(PciDevice::isBoundToVfio).isEmpty();
        }

        /** The number of vCPUs on QEMU's command line; 0 if there is none. */
        int smp() {
            int at = process.arguments().indexOf("-smp");
            Matcher cpus = Pattern.compile("(?:cpus=)?(\\d{1,4})(?:,.*)?")
                    .matcher(
                            at < 0 || at + 1 >= process.arguments().size()
                                    ? ""
                                    : process.arguments().get(at + 1));
            return cpus.matches() ? Integer.parseInt(cpus.group(1)) : 0;
        }

        /** The option of a device of another process, if each process was looked at, and none serves it. */
        private Known<String> unserved() {
            boolean none = host().backEnds(process).isEmpty()
                    && host().hiddenEventfd(process).isEmpty()
                    && host().hidesProcesses().isEmpty();
            return Fact.of(process.arguments().stream()
                    .filter(word -> none && word.matches("(vhost-user-\\w+|vfio-user-pci)(-pci)?(,.*|)"))
                    .map(word -> word.replaceFirst(",.*", ""))
                    .findFirst());
        }

        /** Two vCPUs that may run on the same CPU only. */
        private Known<List<VmThread>> together() {
            Map<String, VmThread> first = new HashMap<>();
            for (VmThread one : vcpus.values()) {
                VmThread other = one.isPinned() ? first.putIfAbsent(one.allowed(), one) : null;
                if (other != null) {
                    return new Known.Observed<>(List.of(other, one));
                }
            }
            return Known.none();
        }

        /** Whether each process shows its name, if the VMM has a file of vhost open: one may be a worker. */
        Known<Boolean> showsWorkers() {
            boolean vhost = files().list(path("proc/{process}/fd")).stream()
                    .anyMatch(fd -> files().link(path("proc/{process}/fd/") + fd)
                            .filter(target -> target.startsWith("/dev/vhost-"))
                            .isPresent());
            return vhost ? host().once("workers", () -> hidden(host())) : Known.none();
        }

        /** Whether each eventfd shows its id, by which a back end is found. */
        Known<Boolean> showsEventfds() {
            return host().hiddenEventfd(process)
                    .<Known<Boolean>>map(file -> Fact.missing(files(), file))
                    .orElseGet(Known::none);
        }

        /** The devices of which the guest has a part. */
        Known<List<PciDevice>> parents() {
            List<PciAddress> all = host().parents(process);
            return all.stream()
                    .filter(one -> host().pci(one).isEmpty())
                    .findFirst()
                    .<Known<List<PciDevice>>>map(one -> Fact.missing(files(), PciFunction.DEVICES + one + "/vendor"))
                    .orElseGet(() -> new Known.Observed<>(all.stream()
                            .flatMap(one -> host().pci(one).stream())
                            .toList()));
        }

        /** Whether each vCPU waits for another thread; not shown if one is elsewhere. */
        Known<Boolean> isOutside() {
            Known<Boolean> all = Known.none();
            for (VmThread one : vcpus.values()) {
                String file = one.path("proc/{thread}/wchan");
                String at = files().text(file).orElse("");
                if (!at.isEmpty() && !at.startsWith("futex_")) {
                    return Known.none();
                }
                all = all instanceof Known.Unknown
                        ? all
                        : at.isEmpty() ? Fact.missing(files(), file) : new Known.Observed<>(true);
            }
            return all;
        }
    }

    /** The first process whose {@code stat} is not shown. */
    private static Known<Boolean> hidden(HostFacts host) {
        return host.files().list("proc").stream()
                .filter(pid -> pid.matches("\\d{1,9}"))
                .map(pid -> new VmThread(
                        new Fact.Facts(host),
                        Integer.parseInt(pid),
                        Integer.parseInt(pid),
                        OptionalInt.empty(),
                        VmThread.Kind.KERNEL_WORKER))
                .filter(one -> !STAT.is(one, any -> true) && !one.hasEnded())
                .findFirst()
                .<Known<Boolean>>map(one -> Fact.missing(host.files(), one.path(STAT.file())))
                .orElseGet(Known::none);
    }

    // spotless:off: tables
    private static final Fact<Vmm, Boolean> WORKERS = new Fact<>("proc/PID/stat", Vmm::showsWorkers);
    private static final Fact<Vmm, Boolean> EVENTFDS = new Fact<>("proc/PID/fdinfo", Vmm::showsEventfds);
    private static final Fact<Vmm, List<PciDevice>> PARENTS = new Fact<>(PciFunction.DEVICES, Vmm::parents);
    private static final Fact<Vmm, String> LIMITS =
        Fact.text("proc/{process}/limits", Fact.form(text -> text.contains("Max open files ")));
    private static final Fact<Vmm, Boolean> THREAD = new Fact<>("proc/{process}/task", Vmm::hasThread);
    private static final Fact<Vmm, String> MISSING = new Fact<>("proc/{process}/cmdline", Vmm::missing);
    private static final Fact<Vmm, Vmm> OPTIONS = new Fact<>("proc/{process}/cmdline", one ->
        one.process().arguments().isEmpty() ? Fact.missing(one.files(), one.path("proc/{process}/cmdline"))
        : new Known.Observed<>(one));
    private static final Fact<Vmm, String> UNSERVED = new Fact<>("proc/PID/fdinfo", Vmm::unserved);
    private static final Fact<Vmm, List<VmThread>> TOGETHER = new Fact<>("proc/{process}/task/TID/status", Vmm::together);
    private static final Fact<Vmm, Boolean> OUTSIDE = new Fact<>("proc/{process}/task", Vmm::isOutside);

    private static final Table<VmThread> STATE = new Table<>(
        rule("vmm.dumps-core", STATUS, VmThread::dumpsCore).with(VmThread::called).on("the process", VmThread::isLeader),
        rule("vmm.stopped", STATUS, one -> one.state() == 'T' && one.isNeeded()).with(VmThread::called)
            .fill(one -> one.pid()).first(),
        rule("vmm.stopped-by-tracer", STATUS, one -> one.state() == 't').with(VmThread::called, VmThread::tracer)
            .fill(one -> one.tracer()).first(),
        rule("vmm.ended", STATUS, one -> "ZXx".indexOf(one.state()) >= 0 && one.isNeeded())
            .with(VmThread::called, one -> one.isLeader() && one.host().threads(one.tid()).size() > 1
            ? ": threads of it have not ended" : "").first(),
        // One look proves nothing, because reading a page from a disk takes a moment.
        rule("vmm.uninterruptible", STATUS, one -> one.state() == 'D' && one.isNeeded())
            .with(VmThread::called, VmThread::place, one -> one.isLeader() ? "" : ": it takes no interrupt meanwhile")
            .fill(one -> one.path("proc/{thread}/stack")).first(),
        rule("vmm.far-memory", NEAR, VmThread::isFarFromMemory).with(VmThread::called, VmThread::allowed, VmThread::memory)
            .fill(one -> one.memory()).on("vCPUs", one -> one.vcpu().isPresent() && one.isOfOneNode()),
        // Of a page that comes later, the kernel waits in S.
        rule("vmm.page-awaited", WCHAN, one -> WCHAN.in(one).contains("userfault")).with(VmThread::called, VmThread::place)
            .fill(one -> one.path("proc/{thread}/stack")).on("vCPUs", one -> one.vcpu().isPresent() && one.state() == 'S'),
        rule("vmm.swapped", STATUS, one -> one.swapped() > one.kibis("VmRSS") / 3)
            .with(one -> one.swapped() >> 10, VmThread::called).on("the process", VmThread::isLeader),
        rule("vmm.traced", STATUS, one -> "TtZXxD".indexOf(one.state()) < 0 && one.isTraced())
            .with(one -> one.pid(), VmThread::tracer).fill(one -> one.tracer()),
        rule("vmm.exits", STAT, one -> STAT.in(one).isExiting()).with(VmThread::called).fill(one -> one.pid())
            .first().on("needed", one -> one.isNeeded() && STAT.is(one, any -> true)));

    /** Threads and processes that serve the guest beside its vCPUs. */
    private static final Table<VmThread> HELPER = new Table<>(
        rule("helper.stopped", STAT, one -> "TtZXx".indexOf(STAT.in(one).state()) >= 0)
            .with(VmThread::called, one -> STAT.in(one).state())
            .remedy(one -> STAT.in(one).state() == 'T' && !one.isOfKernel() ? Rows.remedy("@continue", one.pid())
            : Rows.remedy("@stack", one.path("proc/{thread}/stack"))).first().on("helpers", VmThread::isHelper),
        rule("helper.frozen", CGROUP, one -> ControlGroups.isFrozen(one.host(), CGROUP.in(one))).with(VmThread::called)
            .fill(one -> one.path(CGROUP.file()))
            .on("back ends", one -> one.kind() == VmThread.Kind.BACK_END && one.isLeader()),
        rule("helper.traced", STATUS, VmThread::isTraced).with(VmThread::called, VmThread::tracer).fill(one -> one.tracer())
            .on("back ends", one -> one.kind() == VmThread.Kind.BACK_END && STATUS.is(one, any -> true)),
        rule("helper.hangs", STAT, one -> STAT.in(one).state() == 'D').with(VmThread::called, VmThread::place)
            .fill(one -> one.path("proc/{thread}/stack")).first().on("helpers", VmThread::isHelper));

    private static final Table<VmThread> ORDER = new Table<>(
        rule("vmm.behind", ABOVE, one -> true).and(STAT).with(VmThread::called, one -> STAT.in(one).cpu(), ABOVE::in)
            .remedy(VmmRules::pin),
        rule("helper.starved", TIMES, one -> STAT.is(one, ThreadStat::isRunnable) && one.waits()).and(STAT)
            .with(VmThread::called, VmThread::share).remedy(VmmRules::pin).on("helpers", VmThread::isHelper).otherwise(),
        rule("vmm.low", STAT, one -> STAT.in(one).isIdleClass() || STAT.in(one).nice() >= MANY_NICE)
            .with(VmThread::called, one -> STAT.in(one).isIdleClass() ? "the class SCHED_IDLE" : "nice "
            + STAT.in(one).nice())
            .fill(one -> (STAT.in(one).isIdleClass() ? "chrt -o -p 0 " : "renice 0 "), one -> one.tid())
            .on("needed", one -> STAT.is(one, any -> true) && (one.isNeeded() || one.isHelper())));

    private static final Table<VmThread> HELPERS_ORDER = ORDER.about(Subject.HELPER);

    /** A device of which the guest has a part: the parent of an mdev or of a vDPA device. */
    private static final Table<PciFunction> PARENT = new Table<>(
        rule("parent.asleep", PciFunction.POWER, PciFunction::isAsleep)
            .with(PciFunction::address, one -> PciFunction.POWER.in(one).state()),
        rule("parent.gone", PciFunction.CONFIG, one -> one.config().isGone()).with(PciFunction::address).otherwise());

    /** A VMM keeps the descriptor of a vCPU that was unplugged, and ends its thread; the first vCPU stays. */
    private static final Table<VmThread> GONE = new Table<>(
        rule("vmm.vcpu-gone", TASKS, one -> true).with(VmThread::called));

    private static final Table<VmThread> UNPLUGGED = new Table<>(
        rule("vmm.vcpu-unplugged", TASKS, one -> true).with(VmThread::called));

    private static final Table<VmThread> WAITS = new Table<>(
        rule("vmm.never-ran", MEASURED, VmThread::hasNeverRun).with(VmThread::called).and(TIMES),
        rule("vmm.not-balanced", TIMES, VmThread::isIsolated).with(VmThread::called, VmThread::allowed, VmThread::share)
            .remedy(VmmRules::pin).and(ISOLATED).on("several CPUs", one -> !one.isAlone() && one.waits()).otherwise(),
        rule("vmm.starved", NEIGHBOURS, one -> true).with(VmThread::called, VmThread::share, VmThread::allowed)
            .remedy(one -> one.onFree("@pin-all", one.pid()))
            .otherwise(),
        rule("vmm.displaced", NEIGHBOUR, one -> true)
            .with(VmThread::called, VmThread::allowed, VmThread::share, NEIGHBOUR::in).remedy(VmmRules::pin).otherwise(),
        rule("vmm.displaced-before", TIMES, one -> one.isPinned() && one.waits())
            .with(VmThread::called, VmThread::allowed, VmThread::share).remedy(VmmRules::pin).otherwise());

    private static final Table<Vmm> VCPU = new Table<>(
        rule("vmm.vcpu-without-thread", THREAD, one -> !THREAD.in(one)).with(Vmm::id));

    private static final Table<Vmm> PROCESS = new Table<>(
        rule("vmm.incoming", OUTSIDE, one -> one.process().arguments().contains("-incoming")),
        rule("vmm.no-its", OPTIONS, one -> !one.process().devices().isEmpty()
            && one.process().arguments().stream().anyMatch(word -> word.matches("virt,(.*,)?its=off(,.*)?"))),
        rule("vmm.vcpus-share-cpu", TOGETHER, one -> true)
            .with(one -> TOGETHER.in(one).get(0).called(), one -> TOGETHER.in(one).get(1).called(),
            one -> TOGETHER.in(one).get(1).allowed()).remedy(one -> pin(TOGETHER.in(one).get(1))),
        rule("vmm.paused", OUTSIDE, one -> true).on("no migration", one -> !one.process().arguments().contains("-incoming")));

    private static final Table<Vmm> NAMED = new Table<>(
        rule("vmm.device-missing", MISSING, one -> true).with(MISSING::in),
        rule("vmm.fewer-vcpus", OPTIONS, one -> one.smp() > one.process().vcpus().size())
            .with(Vmm::smp, one -> one.process().vcpus().size()));

    private static final Table<Vmm> SERVED = new Table<>(
        rule("backend.missing", UNSERVED, one -> true).with(UNSERVED::in));

    private static final Table<Vmm> LIMIT = new Table<>(
        rule("vmm.files", LIMITS, one -> one.open() >= one.most()).with(Vmm::open, Vmm::most)
            .fill(one -> one.name("process")));

    private static final Table<VmThread> EXITING = new Table<>(
        rule("vmm.hangs-in-exit", STAT, one -> STAT.in(one).isExiting() && "DZ".indexOf(STAT.in(one).state()) >= 0)
            .with(one -> one.tid(), one -> STAT.in(one).name(), VmmRules::inExit).fill(one -> one.tid()),
        rule("vmm.in-exit", STAT, one -> STAT.in(one).isExiting())
            .with(one -> one.tid(), one -> STAT.in(one).name(), VmmRules::inExit).fill(one -> one.tid()).otherwise());
    // spotless:on

    /** The rules of a process and its threads. */
    public static final List<Table<?>> TABLES = Stream.<List<? extends Table<?>>>of(
                    ControlGroups.TABLES,
                    List.of(STATE, HELPER, ORDER, GONE, UNPLUGGED, WAITS, EXITING),
                    List.of(PARENT),
                    List.of(VCPU, PROCESS, NAMED, SERVED, LIMIT))
            .<Table<?>>flatMap(List::stream)
            .toList();

    /** Checks a process that holds a VM: its threads, but no helper, which only other devices of the guest need. */
    public static Link of(HostFacts host, VmProcess process) {
        return new VmmRules(host, process).link();
    }

    /**
     * Checks what serves the guest's virtio queues and other devices, and the devices of which it has a part.
     *
     * @param workers the threads that the kernel runs for vhost
     */
    public static Link ofHelpers(HostFacts host, VmProcess process, List<Worker> workers) {
        return new VmmRules(host, process).helpers(workers);
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

    private Link link() {
        Map<Integer, VmThread> threads = threads();
        VmThread leader = leader();
        flaws.requireSeen(leader, TASKS);
        Optional<String> group = flaws.look(leader, CGROUP);
        vcpus.values().stream()
                .filter(one -> (tasks.isEmpty() || isTask(one)) && !CGROUP.is(one, any -> true))
                .findFirst()
                .ifPresent(one -> flaws.requireSeen(one, CGROUP));
        List<String> groups = vcpus.values().stream()
                .flatMap(one -> CGROUP.of(one).known().stream())
                .toList();
        new ControlGroups(host, flaws, "").look(group, groups);
        flaws.requireSeen(leader, STATUS);
        long seen = threads.values().stream().filter(this::looked).count();
        threads.values().stream().filter(one -> !one.isHelper()).forEach(one -> flaws.apply(one, ORDER));
        threads.values().stream() // the first of equal threads is enough
                .filter(one -> (!one.isNeeded() || STATUS.is(one, any -> true)) && !STAT.is(one, any -> true))
                .findFirst()
                .ifPresent(one -> flaws.requireSeen(one, STAT));
        process.vcpus().forEach(vcpu -> flaws.apply(vmm(OptionalInt.of(vcpu.id())), VCPU));
        flaws.apply(vmm(OptionalInt.empty()), PROCESS);
        if (STATUS.is(leader, any -> true) && seen > 0) {
            flaws.fine(
                    seen == 1
                            ? "its thread is neither stopped nor traced"
                            : seen + " of its threads were looked at, and none is stopped or traced");
        }
        return link("process " + process.pid());
    }

    private VmThread leader() {
        return vcpus.getOrDefault(process.pid(), thread(process.pid(), process.pid(), OptionalInt.empty()));
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
                .forEach(tid -> threads.put(tid, thread(process.pid(), tid, OptionalInt.empty())));
        return threads;
    }

    private Link helpers(List<Worker> workers) {
        Vmm vmm = vmm(OptionalInt.empty());
        flaws.requireSeen(vmm, WORKERS);
        Stream.concat(
                        threads().values().stream().filter(VmThread::isHelper),
                        workers.stream()
                                .map(one -> new VmThread(
                                        new Fact.Facts(host),
                                        process.pid(),
                                        one.tid(),
                                        OptionalInt.empty(),
                                        one.ofKernel() ? VmThread.Kind.KERNEL_WORKER : VmThread.Kind.WORKER)))
                .forEach(one -> flaws.apply(one, HELPER).apply(one, HELPERS_ORDER));
        host.backEnds(process).forEach(this::backEnd);
        flaws.requireSeen(vmm, EVENTFDS);
        flaws.apply(vmm, SERVED);
        flaws.look(vmm, PARENTS).stream()
                .flatMap(List::stream)
                .map(one -> PciFunction.of(host, one, one.address(), true))
                .forEach(one -> {
                    flaws.look(one, PciFunction.POWER_STATE);
                    flaws.apply(one, PARENT);
                });
        flaws.apply(vmm, NAMED).apply(vmm, LIMIT);
        return link("helpers of process " + process.pid());
    }

    private Link link(String value) {
        return flaws.link(Hop.VMM, Evidence.observed("/proc/" + process.pid()), value, "")
                .with(Hop.VMM, List.of(new ProcessId(process.pid())));
    }

    /** Its threads, up to the first one with a flaw, and its quota of CPU time. */
    private void backEnd(int pid) {
        VmThread first = backEnd(pid, pid);
        List<VmThread> threads = new ArrayList<>(List.of(first));
        host.threads(pid).stream()
                .map(Integer::valueOf)
                .filter(tid -> tid != pid)
                .limit(MOST_THREADS)
                .forEach(tid -> threads.add(backEnd(pid, tid)));
        for (VmThread one : threads) {
            if (flaws.finds(one, HELPER) || flaws.finds(one, HELPERS_ORDER)) {
                break;
            }
        }
        CGROUP.of(first)
                .known()
                .filter(group -> !ControlGroups.isFrozen(host, group))
                .ifPresent(group -> new ControlGroups(host, flaws, first.called()).look(Optional.of(group), List.of()));
    }

    private VmThread backEnd(int pid, int tid) {
        return new VmThread(new Fact.Facts(host), pid, tid, OptionalInt.empty(), VmThread.Kind.BACK_END);
    }

    /** False for a thread that does not show its state. */
    private boolean looked(VmThread one) {
        boolean shown = STATUS.is(one, any -> true);
        if (shown) {
            flaws.apply(one, STATE);
        }
        if (one.vcpu().isPresent() && !one.isLeader() && !tasks.isEmpty() && !isTask(one)) {
            boolean last = vcpus.values().stream().noneMatch(this::isTask);
            flaws.apply(one, last || one.vcpu().getAsInt() == 0 ? GONE : UNPLUGGED);
        } else if (one.vcpu().isPresent() && flaws.look(one, STATUS).isPresent()) {
            flaws.apply(one, WAITS);
        }
        return shown;
    }

    private boolean isTask(VmThread one) {
        return tasks.contains(String.valueOf(one.tid()));
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
        Optional<ThreadStat> stat = flaws.look(process, STAT);
        if (stat.isEmpty()) {
            return process.hasEnded()
                    ? Optional.empty()
                    : Optional.of(flaws.link(
                            Hop.VMM, process.evidence(STAT.file()), "", "no process is seen that has the device open"));
        }
        return stat.get().isExiting()
                ? flaws.apply(process, EXITING).flawed(Hop.VMM, Optional.empty())
                : Optional.empty();
    }

    private static Remedy pin(VmThread one) {
        return one.onFree("@pin", one.tid());
    }

    private static String inExit(VmThread one) {
        return STAT.in(one).state() == 'Z' ? "a zombie with threads that have not ended" : "in exit (PF_EXITING)";
    }
}
