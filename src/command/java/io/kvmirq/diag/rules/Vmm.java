/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.sources.CpuList;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcesses;
import io.kvmirq.host.facts.VmmArguments;
import io.kvmirq.path.Known;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/** The process, with the vCPUs whose threads are known; or one of its vCPUs. */
record Vmm(Fact.Facts facts, VmProcess process, OptionalInt vcpu, List<String> tasks, Map<Integer, VmThread> vcpus)
        implements Fact.Subject {
    private static final int MOST_VCPUS = 1024;
    /** An irq that comes more seldom than once in these seconds disturbs nobody. */
    private static final int SELDOM_SECONDS = 2;

    // spotless:off: a table
    static final Fact<Vmm, Boolean> WORKERS = new Fact<>("proc/PID/stat", Vmm::showsWorkers);
    static final Fact<Vmm, Boolean> EVENTFDS = new Fact<>("proc/PID/fdinfo", Vmm::showsEventfds);
    static final Fact<Vmm, List<PciDevice>> PARENTS = new Fact<>(PciFunction.DEVICES, Vmm::parents);
    static final Fact<Vmm, String> LIMITS =
        Fact.text("proc/{process}/limits", Fact.form(text -> text.contains("Max open files ")));
    static final Fact<Vmm, Boolean> THREAD = new Fact<>("proc/{process}/task", Vmm::hasThread);
    static final Fact<Vmm, String> MISSING = new Fact<>("proc/{process}/cmdline", Vmm::missing);
    static final Fact<Vmm, Vmm> OPTIONS = new Fact<>("proc/{process}/cmdline", vmm ->
        vmm.given().words().isEmpty() ? Fact.missing(vmm.files(), vmm.path("proc/{process}/cmdline"))
        : new Known.Observed<>(vmm));
    static final Fact<Vmm, String> UNSERVED = new Fact<>("proc/PID/fdinfo", Vmm::unserved);
    static final Fact<Vmm, List<VmThread>> TOGETHER = new Fact<>("proc/{process}/task/TID/status", Vmm::together);
    static final Fact<Vmm, Disturbed> DISTURBED = new Fact<>("proc/interrupts", Vmm::disturbed);
    static final Fact<Vmm, Boolean> OUTSIDE = new Fact<>("proc/{process}/task", Vmm::isOutside);
    // spotless:on

    /** Reads the threads of the vCPUs of a process. */
    static Vmm read(HostFacts host, VmProcess process) {
        Map<Integer, VmThread> vcpus = new LinkedHashMap<>();
        process.vcpus().stream().limit(MOST_VCPUS).forEach(vcpu -> process.thread(host.files(), vcpu)
                .ifPresent(tid -> vcpus.put(
                        tid,
                        new VmThread(
                                new Fact.Facts(host),
                                process.pid(),
                                tid,
                                OptionalInt.of(vcpu.id()),
                                VmThread.Kind.THREAD))));
        return new Vmm(new Fact.Facts(host), process, OptionalInt.empty(), host.threads(process.pid()), vcpus);
    }

    /** One of its vCPUs. */
    Vmm vcpu(int id) {
        return new Vmm(new Fact.Facts(host()), process, OptionalInt.of(id), tasks, vcpus);
    }

    @Override
    public String name(String word) {
        return String.valueOf(process.pid());
    }

    int id() {
        return vcpu.orElseThrow();
    }

    VmmArguments given() {
        return new VmmArguments(process.arguments());
    }

    int open() {
        return files().list(path("proc/{process}/fd")).size();
    }

    /** The limit of open files(). */
    long max() {
        return host().limits().of(process).openFiles().known().orElse(Long.MAX_VALUE);
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
        if (process.vcpus().stream().anyMatch(vcpu -> vcpu.id() == id() && process.isParked(files(), vcpu))) {
            return Known.none();
        }
        return vcpus.keySet().stream().anyMatch(this::isNamed)
                ? new Known.Observed<>(false)
                : host().notInDebugfs("the threads of vCPUs (no file shows them)", Guests.NAMES);
    }

    private boolean isNamed(int tid) {
        return files().text(path("proc/{process}/task/") + tid + "/comm")
                .filter(VmProcesses::isVcpu)
                .isPresent();
    }

    /** Devices and files on the command line that sysfs does not have, or the VMM not open. */
    Known<String> missing() {
        List<String> given = given().given();
        String missing = given.stream().filter(this::isMissing).collect(Collectors.joining(", "));
        if (!missing.isEmpty()) {
            return new Known.Observed<>(missing);
        }
        return given().isUnknown()
                ? Fact.missing(files(), path("proc/{process}/cmdline"))
                : given.stream()
                        .flatMap(name -> VmmArguments.address(name).stream())
                        .filter(host()::hides)
                        .findFirst()
                        .<Known<String>>map(device -> Fact.missing(files(), PciFunction.DEVICES + device + "/vendor"))
                        .orElseGet(Known::none);
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
        PciAddress address = VmmArguments.address(name).orElseThrow();
        return !host().pciAddresses().isEmpty()
                && !host().hides(address)
                && host().pci(address).filter(PciDevice::isBoundToVfio).isEmpty();
    }

    /** The option of a device of another process, if each process was looked at, and none serves it. */
    Known<String> unserved() {
        boolean none = host().backEnds(process).isEmpty()
                && host().hiddenEventfd(process).isEmpty()
                && host().hidesProcesses().isEmpty();
        return Fact.of(given().ofAnotherProcess().filter(device -> none));
    }

    /** Two vCPUs that may run on the same CPU only. */
    Known<List<VmThread>> together() {
        Map<String, VmThread> first = new HashMap<>();
        for (VmThread vcpu : vcpus.values()) {
            VmThread other = vcpu.isPinned() ? first.putIfAbsent(vcpu.allowed(), vcpu) : null;
            if (other != null) {
                return new Known.Observed<>(List.of(other, vcpu));
            }
        }
        return Known.none();
    }

    /** A vCPU on an isolated CPU of its own, and a host irq that no other CPU takes. */
    record Disturbed(VmThread vcpu, HostInterrupts.Row row) {}

    /** The one that came most often. Every queue of a disk has an irq for each CPU, and most never come. */
    private Known<Disturbed> disturbed() {
        Map<Integer, VmThread> alone = new HashMap<>();
        for (VmThread vcpu : vcpus.values()) {
            if (vcpu.isPinned() && VmThread.ISOLATED.is(vcpu, set -> set.get(Integer.parseInt(vcpu.allowed())))) {
                alone.put(Integer.parseInt(vcpu.allowed()), vcpu);
            }
        }
        Optional<Double> uptime = host().uptime();
        if (alone.isEmpty() || uptime.isEmpty() || host().interrupts().isEmpty()) {
            return Known.none();
        }
        HostInterrupts all = host().interrupts().get();
        return Fact.of(all.rows().stream()
                .filter(row -> row.count() > uptime.get() / SELDOM_SECONDS
                        && !row.handlers().contains("vfio-"))
                .flatMap(row -> only(row.irq().number()).stream()
                        .mapToObj(alone::get)
                        .filter(Objects::nonNull)
                        .map(vcpu ->
                                new Disturbed(vcpu, all.row(row.irq().number()).orElse(row))))
                .max(Comparator.comparingLong(found -> found.row.count())));
    }

    /** The only CPU that an irq may interrupt now. */
    private OptionalInt only(long irq) {
        BitSet cpus = files().text("proc/irq/" + irq + "/effective_affinity_list")
                .or(() -> files().text("proc/irq/" + irq + "/smp_affinity_list"))
                .flatMap(CpuList::parse)
                .orElseGet(BitSet::new);
        return cpus.cardinality() == 1 ? OptionalInt.of(cpus.nextSetBit(0)) : OptionalInt.empty();
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
                .filter(address -> host().pci(address).isEmpty())
                .findFirst()
                .<Known<List<PciDevice>>>map(
                        address -> Fact.missing(files(), PciFunction.DEVICES + address + "/vendor"))
                .orElseGet(() -> new Known.Observed<>(all.stream()
                        .flatMap(address -> host().pci(address).stream())
                        .toList()));
    }

    /** Whether each vCPU waits for another thread; not shown if one is elsewhere. */
    Known<Boolean> isOutside() {
        Known<Boolean> all = Known.none();
        for (VmThread vcpu : vcpus.values()) {
            String file = vcpu.path("proc/{thread}/wchan");
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
                .filter(worker -> !VmThread.STAT.is(worker, value -> true) && !worker.hasEnded())
                .findFirst()
                .<Known<Boolean>>map(thread -> Fact.missing(host.files(), thread.path(VmThread.STAT.file())))
                .orElseGet(Known::none);
    }
}
