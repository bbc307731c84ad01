/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.HostFacts;
import io.kvmirq.host.VmProcess;
import io.kvmirq.host.VmProcess.VcpuFile;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;

/**
 * The link of the process that runs the VM: whether its threads may run at all. A thread may end while it is read. For one
 * use by one thread.
 *
 * <p>Source: {@code task_state_array} in fs/proc/array.c, {@code proc_pid_schedstat()} in fs/proc/base.c,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1.
 */
final class VmmLink {
    /** The threads that are looked at beside those of vCPUs: a process may have ten thousand. */
    private static final int MOST_THREADS = 64;

    private static final int MOST_VCPUS = 1024;
    private static final int MOST_DIGITS = 9;
    /** The place of the last CPU in a stat, behind the name. */
    private static final int CPU = 36;

    private static final int FLAGS = 6;
    /** {@code PF_KTHREAD}. */
    private static final long KERNEL_THREAD = 0x20_0000;
    /** Per cent of the time in which a thread could run. */
    private static final int MOST_WAITED = 33;
    /** Waits of a CPU that are too short to tell anything, in ns. */
    private static final long SHORT = 100_000_000;

    /** The directories of VMs in debugfs. */
    static final String KVM = "sys/kernel/debug/kvm/";

    private final HostFiles files;
    private final HostFacts host;
    private final VmProcess process;
    private final String path;
    private final Looks looks;
    /** The control groups whose quota was looked at. */
    private final Set<String> quotas = new HashSet<>();

    private boolean frozen;

    private VmmLink(HostFacts host, VmProcess process) {
        this.host = host;
        this.files = host.files();
        this.process = process;
        this.path = "proc/" + process.pid() + "/";
        this.looks = new Looks(files);
    }

    /** Looks at a process that holds a VM. */
    static Link of(HostFacts host, VmProcess process) {
        return new VmmLink(host, process).link();
    }

    /**
     * The thread that runs a vCPU: the one that is named so, or the one that KVM shows in debugfs. Empty if neither shows
     * it.
     */
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
        Set<String> groups = new LinkedHashSet<>();
        vcpus.keySet().forEach(thread -> files.text(path + "task/" + thread + "/cgroup")
                .ifPresent(groups::add));
        Optional<String> first = looks.text(path + "cgroup");
        boolean known = !groups.isEmpty();
        groups.forEach(text -> cgroups(text, true));
        first.filter(text -> !groups.contains(text)).ifPresent(text -> cgroups(text, !known));
        boolean whole = looks.text(path + "status").isPresent();
        int seen = 0;
        for (Map.Entry<Integer, String> thread : threads.entrySet()) {
            boolean isLeader = thread.getKey() == process.pid();
            String directory = isLeader ? path : path + "task/" + thread.getKey() + "/";
            Optional<String> status = files.text(directory + "status");
            Integer vcpu = vcpus.get(thread.getKey());
            if (status.isPresent()) {
                seen++;
                state(thread.getValue(), directory, status.get(), isLeader || vcpu != null);
            }
            if (vcpu != null && !isLeader) {
                if (!all.isEmpty() && !all.contains(String.valueOf(thread.getKey()))) {
                    looks.broken(path + "task", thread.getValue() + " is gone: the vCPU runs no more", restart());
                } else if (status.isEmpty()) {
                    looks.absent(directory + "status");
                }
            }
            if (vcpu != null && status.isPresent()) {
                waits(thread.getValue(), directory, status.get());
            }
        }
        if (!all.isEmpty()) {
            missing(vcpus);
        }
        outside(vcpus);
        limits();
        if (whole && seen > 0) {
            looks.fine((seen == 1 ? "its thread is" : seen + " of its threads were looked at, and none is")
                    + (seen == 1 ? " neither stopped nor traced" : " stopped or traced"));
        }
        return looks.link(Hop.VMM, Evidence.observed("/proc/" + process.pid()), "process " + process.pid(), "");
    }

    private static Remedy command(String text) {
        return Remedy.of(Change.COMMAND, text, Takes.LIVE, "");
    }

    private static Remedy restart() {
        return Remedy.of(Change.COMMAND, "restart the guest", Takes.VMM_RESTART, "the guest is interrupted");
    }

    private static String value(String status, String name) {
        return status.lines()
                .filter(line -> line.startsWith(name + ":"))
                .map(line -> line.substring(name.length() + 1).strip())
                .findFirst()
                .orElse("");
    }

    /** @param runs whether the guest needs the thread: the first one, or that of a vCPU */
    private void state(String name, String directory, String status, boolean runs) {
        String state = value(status, "State");
        String tracer = value(status, "TracerPid");
        boolean traced = tracer.matches("[1-9]\\d{0,8}");
        String by = traced
                ? "process " + tracer
                        + files.text("proc/" + tracer + "/stat")
                                .filter(stat -> stat.matches("(?s)\\d+ \\(.*\\).*"))
                                .map(stat -> " " + stat.substring(stat.indexOf('('), stat.lastIndexOf(')') + 1))
                                .orElse("")
                : "another process";
        String file = directory + "status";
        switch (state.isEmpty() ? ' ' : state.charAt(0)) {
            case 'T' -> {
                if (runs && !looks.isBroken()) {
                    looks.broken(file, name + " is stopped by a signal", command("kill -CONT " + process.pid()));
                }
            }
            case 't' -> {
                if (!looks.isBroken()) {
                    looks.broken(
                            file,
                            name + " is stopped by a tracer, " + by,
                            command("let the tracer go on or end it: " + by));
                }
            }
            case 'Z', 'X', 'x' -> {
                if (runs && !looks.isBroken()) {
                    looks.broken(file, name + " has ended and is a zombie", restart());
                }
            }
            case 'D' -> {
                if (frozen || looks.isBroken() || !runs) {
                    return;
                }
                String text = name + " sleeps uninterruptibly"
                        + files.text(directory + "wchan")
                                .filter(at -> !at.isEmpty() && !at.equals("0"))
                                .map(at -> " in " + at)
                                .orElse("");
                // One look: a page that is read from a disk takes a moment.
                looks.doubt(
                        file,
                        text + (name.startsWith("process") ? "" : ": it takes no interrupt meanwhile"),
                        Remedy.look("look again: a moment is harmless; cat /" + directory
                                + "stack; dmesg | grep -i 'blocked for more'"));
            }
            default -> {
                if (traced) {
                    looks.doubt(
                            file,
                            "process " + process.pid() + " is traced by " + by + ", which slows it",
                            command("end the tracer: " + by));
                }
            }
        }
    }

    /** The thread of a vCPU that sleeps in KVM is in kvm_vcpu_block() or its kin; that of a paused guest is not. */
    private void outside(Map<Integer, Integer> threads) {
        boolean all = !threads.isEmpty()
                && threads.keySet().stream().allMatch(thread -> files.text(path + "task/" + thread + "/wchan")
                        .filter(at -> at.startsWith("futex_"))
                        .isPresent());
        if (all) {
            looks.doubt(
                    path + "task",
                    "the thread of each vCPU waits for another thread of the VMM, and none runs its vCPU: the guest may be"
                            + " paused",
                    command("resume the guest (libvirt: virsh resume; QEMU: cont)"));
        }
    }

    /** A vCPU without a thread, beside others that have one. */
    private void missing(Map<Integer, Integer> threads) {
        for (VcpuFile vcpu : process.vcpus()) {
            if (!threads.isEmpty() && threads.size() < MOST_VCPUS && !threads.containsValue(vcpu.id())) {
                looks.doubt(
                        path + "task",
                        "no thread is named after vcpu " + vcpu.id()
                                + ", as those of other vCPUs are: nothing may run it",
                        Remedy.look("ask the VMM for its vCPUs (QEMU: info cpus)"));
            }
        }
    }

    /** A thread that may run on one CPU only waits while others have it. */
    private void waits(String name, String directory, String status) {
        String allowed = value(status, "Cpus_allowed_list");
        // Not where the host has no other.
        boolean pinned = allowed.matches("\\d{1,5}")
                && files.text("sys/devices/system/cpu/online")
                        .filter(online -> online.strip().equals(allowed))
                        .isEmpty();
        String file = directory + "schedstat";
        Optional<String> text = files.text(file);
        if (text.isEmpty()) {
            if (pinned) {
                looks.absent(file);
            }
            return;
        }
        String[] words = text.get().strip().split("\\s+");
        if (words.length < 2 || !words[0].matches("\\d{1,18}") || !words[1].matches("\\d{1,18}")) {
            looks.unseen("/" + file + " has another form", "none");
            return;
        }
        long ran = Long.parseLong(words[0]);
        long waited = Long.parseLong(words[1]);
        long share = ran + waited == 0 ? 0 : Math.round(100.0 * waited / (ran + waited));
        if (!pinned || waited < SHORT || share < MOST_WAITED) {
            return;
        }
        String says = name + " may run on CPU " + allowed + " only, and waited for it " + share
                + " % of the time in which it had something to do";
        Remedy remedy = command("give it a CPU of its own: taskset -cp CPU "
                + directory.replaceAll("\\D+", " ").strip().replaceAll(".* ", ""));
        Optional<String> other = running(allowed);
        if (other.isPresent()) {
            looks.broken(file, says + ": process " + other.get() + " runs there", remedy);
        } else {
            looks.doubt(file, says + " since it began", remedy);
        }
    }

    /** Another process that runs on a CPU now, as its first thread shows: field 39 of its stat is the CPU. */
    private Optional<String> running(String cpu) {
        String self = files.link("proc/self").orElse("");
        for (String pid : files.list("proc")) {
            String stat = pid.matches("\\d{1,9}") && !pid.equals(self) && !pid.equals(String.valueOf(process.pid()))
                    ? files.text("proc/" + pid + "/stat").orElse("")
                    : "";
            String[] fields = stat.substring(stat.lastIndexOf(')') + 1).strip().split(" ");
            // Threads of the kernel run for moments.
            if (fields.length > CPU
                    && fields[0].equals("R")
                    && fields[CPU].equals(cpu)
                    && fields[FLAGS].matches("\\d{1,10}")
                    && (Long.parseLong(fields[FLAGS]) & KERNEL_THREAD) == 0) {
                return Optional.of(pid + " " + stat.substring(stat.indexOf('('), stat.lastIndexOf(')') + 1));
            }
        }
        return Optional.empty();
    }

    private void limits() {
        Optional<Long> most = host.limits().of(process).openFiles().known();
        int open = files.list(path + "fd").size();
        if (most.isPresent() && open >= most.get()) {
            looks.doubt(
                    path + "limits",
                    "the process has " + open + " files open, and may have " + most.get()
                            + ": it gets no eventfd for another vector",
                    Remedy.of(Change.COMMAND, "prlimit --nofile=65536 --pid " + process.pid(), Takes.LIVE, ""));
        }
    }

    // Control groups

    /**
     * Lines of hierarchy, controllers and path. A name with a line end makes lines of another form, which are left out.
     *
     * @param vcpus whether vCPUs may be in it: an interrupt needs them, and not the other threads, such as those of libvirt's
     *     group {@code emulator}
     */
    private void cgroups(String text, boolean vcpus) {
        for (String line : text.split("\n", -1)) {
            String[] parts = line.split(":", 3);
            if (parts.length < 3 || !parts[0].matches("\\d{1,4}") || !parts[2].startsWith("/")) {
                continue;
            }
            List<String> controllers = List.of(parts[1].split(","));
            if (parts[0].equals("0") && parts[1].isEmpty()) {
                boolean unified = files.reading("sys/fs/cgroup/unified") != HostFiles.Reading.ABSENT;
                group(unified ? "sys/fs/cgroup/unified" : "sys/fs/cgroup", parts[2], true, true, vcpus);
            } else if (controllers.contains("freezer") || controllers.contains("cpu")) {
                group("sys/fs/cgroup/" + parts[1], parts[2], controllers.contains("freezer"), false, vcpus);
            }
        }
    }

    private void group(String root, String group, boolean freezes, boolean second, boolean vcpus) {
        List<String> names = new ArrayList<>(List.of(group.substring(1).split("/")));
        if (names.contains("..")) {
            looks.unseen(
                    "the control group of the process, which is in another namespace",
                    "look on the host, not in a container");
            return;
        }
        String freeze = second ? "cgroup.freeze" : "freezer.state";
        if (freezes && !group.equals("/")) {
            looks.text(root + group + "/" + freeze);
        }
        String directory = root;
        for (String name : names) {
            if (name.isEmpty()) {
                continue;
            }
            directory += "/" + name;
            String own = directory.substring(root.length());
            Optional<String> state = files.text(directory + "/" + freeze);
            if (freezes
                    && !frozen
                    && state.filter(one -> one.equals("1") || one.startsWith("FR"))
                            .isPresent()) {
                frozen(
                        directory + "/" + freeze,
                        own,
                        "echo " + (second ? "0" : "THAWED") + " > /" + directory + "/" + freeze);
            }
            if (quotas.add(directory)) {
                throttled(directory, own, second, vcpus);
            }
        }
        boolean above =
                files.text(directory + "/cgroup.events").orElse("").lines().anyMatch("frozen 1"::equals)
                        || files.text(directory + "/freezer.parent_freezing")
                                .orElse("")
                                .equals("1");
        if (freezes && !frozen && above) {
            frozen(
                    directory + (second ? "/cgroup.events" : "/freezer.parent_freezing"),
                    group,
                    "thaw the group above it");
        }
    }

    private void frozen(String file, String group, String remedy) {
        frozen = true;
        looks.broken(file, "the control group " + group + " is frozen: none of its threads runs", command(remedy));
    }

    private void throttled(String directory, String group, boolean second, boolean vcpus) {
        String quota = files.text(directory + (second ? "/cpu.max" : "/cpu.cfs_quota_us"))
                .orElse("max");
        if (!quota.matches("[1-9]\\d{0,17}( .*)?")) {
            return;
        }
        String file = directory + "/cpu.stat";
        OptionalLong periods = files.number(file, "nr_periods ");
        OptionalLong throttled = files.number(file, "nr_throttled ");
        if (periods.isEmpty() || throttled.isEmpty()) {
            looks.absent(file);
            return;
        }
        String text = "the control group " + group + " has used its quota of CPU time up in " + throttled.getAsLong()
                + " of " + periods.getAsLong() + " periods: its threads waited then"
                + (vcpus ? "" : "; no vCPU is in it");
        Remedy remedy = command("raise /" + directory + (second ? "/cpu.max" : "/cpu.cfs_quota_us"));
        if (vcpus && throttled.getAsLong() * 2 >= periods.getAsLong() && throttled.getAsLong() > 0) {
            looks.broken(file, text, remedy);
        } else if (throttled.getAsLong() * 20 >= periods.getAsLong() && throttled.getAsLong() > 0) {
            looks.doubt(file, text, remedy);
        }
    }
}
