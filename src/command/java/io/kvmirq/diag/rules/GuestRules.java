/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.IrqKind;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** Rules for what VFIO has armed, and for an interrupt in its guest's process: eventfd, irqfd and vCPUs. */
public final class GuestRules {
    /** The ways to see the links that no file shows. */
    public static final List<Remedy> BY_VMM = List.of(Rows.remedy("@watch"), Rows.remedy("@ask"));

    /** {@link #BY_VMM} after another tool. */
    public static List<Remedy> byVmmAfter(String other) {
        return Stream.concat(Stream.of(Remedy.look(other)), BY_VMM.stream()).toList();
    }

    /** ULLONG_MAX - 1, the largest count that write(2) can set; {@code eventfd_signal()} can add only one more. */
    public static final long FULL_COUNT = -2L;

    private static final int MOST_VCPUS = 1024;
    /** KVM_MAX_IRQ_ROUTES. */
    private static final int MOST_ROUTES = 4096;
    /** Pins of an I/O APIC, which a VMM routes first. */
    private static final int PINS = 24;

    /** A vCPU's directory below its VM's in debugfs. */
    private record VcpuDirectory(String vm, int id) {
        @Override
        public String toString() {
            return vm + "/vcpu" + id;
        }
    }

    /**
     * An interrupt in a process that holds a VM.
     *
     * @param came how often the host irq came
     * @param target the vCPU that gets it
     */
    public record Path(
            Fact.Facts facts,
            VmProcess process,
            long came,
            Optional<VmmOptions.Inhibit> noLapics,
            Optional<String> userspace,
            OptionalInt target)
            implements Fact.Subject {
        @Override
        public String name(String word) {
            return switch (word) {
                case "process" -> String.valueOf(process.pid());
                case "vm" -> process.pid() + "-" + process.vms().get(0);
                case "vcpu" -> IDLE.in(this).toString();
                default -> throw new IllegalArgumentException(word);
            };
        }

        @Override
        public Evidence evidence(String file) {
            return file.equals(LAPIC.file())
                    ? Evidence.inferred(noLapics.map(VmmOptions.Inhibit::why)
                            .or(() -> userspace)
                            .orElse(""))
                    : Fact.Subject.super.evidence(file);
        }

        /** A fact that all interrupts of the process share. */
        private <T> T once(Object key, Supplier<T> fact) {
            return host().once(List.of(process.pid(), key), fact);
        }

        /** The armed messages of all devices of the VM. */
        private Known<Integer> armed() {
            return host().interrupts()
                    .map(all -> process.devices().stream()
                            .flatMap(device -> all.armed(device).stream())
                            .filter(vector -> vector.kind() != IrqKind.INTX)
                            .count())
                    .map(Long::intValue)
                    .<Known<Integer>>map(Known.Observed::new)
                    .orElseGet(Known::none);
        }

        /** Whether debugfs has the directory of a VM, and so its files. */
        private boolean isShown(String vm) {
            return host().debugfsNames("kvm").contains(vm);
        }

        /** The eventfds, if each shows its count. */
        private Known<Integer> counts() {
            return process.eventfds().stream()
                    .map(eventfd -> "proc/" + process.pid() + "/fdinfo/" + eventfd.fd())
                    .filter(file -> files().text(file)
                            .filter(text -> text.contains("eventfd-count:"))
                            .isEmpty())
                    .findFirst()
                    .<Known<Integer>>map(file -> Fact.missing(files(), file))
                    .orElseGet(() -> new Known.Observed<>(process.eventfds().size()));
        }

        private String directory(int vm) {
            return process.pid() + "-" + vm;
        }

        /** The state of the first VM's VGIC. */
        private Known<VgicState> vgic() {
            return Fact.<Path, VgicState>text(
                            VGIC.file(),
                            path -> host().isArm()
                                    && isShown(directory(process.vms().get(0))),
                            text -> {
                                try {
                                    return Optional.of(VgicState.parse(text));
                                } catch (IllegalArgumentException e) {
                                    return Optional.empty();
                                }
                            })
                    .read()
                    .apply(this);
        }

        private long lost() {
            return VGIC.in(this).interrupts().stream()
                    .filter(interrupt -> interrupt.kind() == VgicState.Kind.LPI
                            && interrupt.enabled()
                            && interrupt.target().isEmpty())
                    .count();
        }

        /** The LPIs that wait because the guest has not enabled them. */
        private long disabled() {
            return VGIC.in(this).interrupts().stream()
                    .filter(interrupt ->
                            interrupt.kind() == VgicState.Kind.LPI && interrupt.pendingLatch() && !interrupt.enabled())
                    .count();
        }

        /** A count of KVM for a VM, which only root reads; none also if debugfs does not have one of its VMs. */
        private Known<Long> count(String name) {
            if (host().isArm() && name.equals("irq_injections")) {
                return Known.none(); // no such count
            }
            long sum = 0;
            for (int vm : process.vms()) {
                Known<Long> count = Fact.<Path, Long>text(
                                VmProcess.DEBUGFS + directory(vm) + "/" + name,
                                path -> isShown(directory(vm)),
                                text -> Optional.of(text)
                                        .filter(number -> number.matches("\\d{1,17}"))
                                        .map(Long::parseLong))
                        .read()
                        .apply(this);
                if (count.known().isEmpty()) {
                    return count;
                }
                sum += count.known().get();
            }
            return new Known.Observed<>(sum);
        }

        /**
         * A vCPU that no thread has run: {@code vcpu_get_pid()} in virt/kvm/kvm_main.c is 0 until the first KVM_RUN. A VMM
         * may park a vCPU without a thread until it is plugged.
         */
        private Known<VcpuDirectory> idle() {
            Known<VcpuDirectory> hidden = Known.none();
            for (VcpuDirectory directory : process.vms().stream()
                    .flatMap(vm -> process.vcpus().stream()
                            .filter(vcpu -> vcpu.thread().isPresent())
                            .filter(vcpu -> target.isEmpty() || target.getAsInt() == vcpu.id())
                            .limit(MOST_VCPUS)
                            .map(vcpu -> new VcpuDirectory(directory(vm), vcpu.id())))
                    .toList()) {
                String file = VmProcess.DEBUGFS + directory + "/pid";
                Optional<String> pid = files().text(file).filter(text -> text.matches("\\d{1,9}"));
                if (pid.filter("0"::equals).isPresent()) {
                    return new Known.Observed<>(directory);
                }
                boolean exists = host().has(KernelChange.VCPU_PID).orElse(false)
                        && host().debugfsNames("kvm/" + directory.vm()).contains("vcpu" + directory.id());
                if (pid.isEmpty() && (exists || files().reading(file) != HostFiles.Reading.ABSENT)) {
                    hidden = Fact.missing(files(), file);
                }
            }
            return hidden;
        }

        /** Whether KVM injects each interrupt of the guests itself, because APIC virtualization is off. */
        private Known<Boolean> injects() {
            Known<Boolean> none = Known.none();
            for (Map.Entry<String, String> parameter : HostKvm.APIC_PARAMETERS) {
                Known<Boolean> set = Fact.<Path, Boolean>text(
                                "sys/module/" + parameter.getKey() + "/parameters/" + parameter.getValue(),
                                path -> host().kvm().vendorModules().contains(parameter.getKey()),
                                text -> Optional.of(text)
                                        .filter(value -> value.matches("[YN01]"))
                                        .map(value -> value.matches("[N0]")))
                        .read()
                        .apply(this);
                none = set instanceof Known.None || none.known().orElse(false) ? none : set;
            }
            return none;
        }
    }

    /** A vector or a device in words, and how many interrupts of it came or are armed. */
    public record Vector(Fact.Facts facts, String what, long count) implements Fact.Subject {}

    /** GSIs or results in words that a probe counted. {@code isUnread} says whether signals wait in the eventfd. */
    public record Probed(Fact.Facts facts, String what, String probe, boolean isUnread) implements Fact.Subject {
        @Override
        public Evidence evidence(String file) {
            return Evidence.observed(probe);
        }
    }

    /** An eventfd whose count nothing reads. {@code isKnown} says whether it certainly belongs to the interrupt. */
    public record Unread(Fact.Facts facts, int pid, EventfdFile eventfd, boolean isKnown) implements Fact.Subject {
        @Override
        public String name(String word) {
            return String.valueOf(word.equals("fd") ? eventfd.fd() : pid);
        }

        private boolean isFull() {
            return Long.compareUnsigned(eventfd.count(), FULL_COUNT) >= 0;
        }

        private String called() {
            return "descriptor " + eventfd.fd() + " of process " + pid + " has count "
                    + Long.toUnsignedString(eventfd.count());
        }
    }

    // spotless:off: tables
    private static final Fact<Path, Path> FILES = Fact.seen("proc/{process}/fd");
    private static final Fact<Path, Path> LAPIC = Fact.seen("proc/{process}/cmdline");
    private static final Fact<Path, Long> EXITS = new Fact<>(VmProcess.DEBUGFS + "{vm}/exits", path -> path.once("exits", () -> path.count("exits")));
    private static final Fact<Path, Long> INJECTED =
        new Fact<>(VmProcess.DEBUGFS + "{vm}/irq_injections", path -> path.once("injected", () -> path.count("irq_injections")));
    private static final Fact<Path, VcpuDirectory> IDLE = new Fact<>(VmProcess.DEBUGFS + "{vcpu}/pid", path -> path.once(path.target(), path::idle));
    private static final Fact<Path, Integer> VECTORS = new Fact<>("proc/interrupts", path -> path.once("armed", path::armed));
    private static final Fact<Path, VgicState> VGIC = new Fact<>(VmProcess.DEBUGFS + "{vm}/vgic-state", path -> path.once("vgic", path::vgic));
    /** The counts of all eventfds of the process: no file shows which one belongs to the interrupt. */
    public static final Fact<Path, Integer> COUNTS = new Fact<>("proc/{process}/fdinfo", path -> path.once("counts", path::counts));
    private static final Fact<Path, Boolean> INJECTS = new Fact<>("sys/module/kvm_{vendor}/parameters", path -> path.once("injects", path::injects));
    private static final Fact<Unread, Unread> COUNT = Fact.seen("proc/{process}/fdinfo/{fd}");

    private static final Fact<Vector, Vector> ARMED = Fact.seen("proc/interrupts");

    public static final Table<Vector> REMOVED = new Table<>(
        rule("device.removed", ARMED, vector -> true).with(Vector::what, Vector::count, vector -> vector.count == 1 ? "" : "s"));

    public static final Table<Vector> VECTOR = new Table<>(
        rule("device-vector.not-armed", ARMED, vector -> vector.count == 0).with(Vector::what),
        rule("device-vector.disarmed", ARMED, vector -> vector.count > 0)
            .with(Vector::what, vector -> vector.count == 1 ? "once" : vector.count + " times"));

    public static final Table<Path> NO_EVENTFD = new Table<>(
        rule("eventfd.none", FILES, path -> path.process.eventfds().isEmpty()).with(path -> path.process.pid()));

    public static final Table<Unread> UNREAD = new Table<>(
        rule("eventfd.full", COUNT, unread -> unread.isFull() && unread.isKnown).with(Unread::called),
        rule("eventfd.unread", COUNT, unread -> unread.isKnown).with(Unread::called).otherwise(),
        rule("eventfd.unread-of-some", COUNT, unread -> !unread.isKnown)
            .with(Unread::called, unread -> unread.isFull() ? ", and it accepts no more signals" : "")
            .otherwise());

    public static final Table<Path> IRQFD = new Table<>(
        rule("irqfd.no-lapic", LAPIC, path -> path.noLapics.isPresent())
            .remedies(path -> path.noLapics.stream().map(InhibitChecks::remedy).toList()),
        rule("irqfd.none", LAPIC, path -> path.userspace.isPresent()).otherwise());

    public static final Table<Path> ROUTES = new Table<>(
        rule("gsi.too-many", VECTORS, path -> VECTORS.in(path) + PINS > MOST_ROUTES).with(VECTORS::in, path -> MOST_ROUTES));

    public static final Table<Path> VCPU = new Table<>(
        rule("vcpu.none", FILES, path -> path.process.vcpus().isEmpty()).with(path -> path.process.pid()),
        rule("vcpu.none-ran", EXITS, path -> EXITS.in(path) == 0).first(),
        rule("vcpu.never-ran", IDLE, path -> true).with(path -> IDLE.in(path).id()).first(),
        rule("vcpu.never-injected", INJECTED, path -> path.came > 0 && INJECTED.in(path) == 0)
            .with(path -> path.came == 1 ? "once" : path.came + " times").and(INJECTS).otherwise()
            .on("without APIC virtualization", path -> INJECTS.of(path).known().orElse(true)),
        rule("vcpu.distributor-off", VGIC, path -> !VGIC.in(path).enabled()).first(),
        rule("vcpu.no-lpis", VGIC, path -> VGIC.in(path).lpis().orElse(1) == 0 && VECTORS.in(path) > 0).and(VECTORS)
            .with(VECTORS::in).first(),
        rule("vcpu.lpis-without-target", VGIC, path -> path.lost() > 0).with(Path::lost).first(),
        rule("vcpu.lpis-not-enabled", VGIC, path -> path.disabled() > 0).with(Path::disabled).first());

    private static final Fact<Probed, Probed> PROBES = Fact.seen("sys/kernel/tracing/instances");

    public static final Table<Probed> UNTAKEN = new Table<>(
        rule("irqfd.none-listens", PROBES, Probed::isUnread),
        rule("irqfd.none-listened", PROBES, probed -> true).otherwise());

    public static final Table<Probed> ROUTE = new Table<>(
        rule("gsi.no-route", PROBES, probed -> true).with(Probed::what));

    public static final Table<Probed> REFUSED = new Table<>(
        rule("vcpu.refuses", PROBES, probed -> true).with(Probed::what));
    // spotless:on

    public static final List<Table<?>> TABLES =
            List.of(REMOVED, VECTOR, NO_EVENTFD, UNREAD, IRQFD, UNTAKEN, ROUTE, ROUTES, VCPU, REFUSED);

    private GuestRules() {}
}
