/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.Stages;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.trace.ProbeCounts;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A host is watched from {@link #begin} to {@link #end}: counters are read at both ends, and the kernel records the
 * tracepoints between. Nothing runs meanwhile. For one thread; {@link #endEarly} and {@link #close} may come from any.
 *
 * <p>Source: arch/x86/kvm/trace.h, include/trace/events/kvm.h, include/trace/events/irq.h and
 * arch/arm64/kvm/vgic/trace.h in Linux; {@code TRACE_FLAG_HARDIRQ} in include/linux/trace_events.h.
 */
public final class LiveWindow extends Watch {
    static final String ENTRY = "irq_handler_entry";
    static final String EXIT = "irq_handler_exit";
    public static final String MESSAGE = "kvm_msi_set_irq";
    static final String ACCEPT = "kvm_apic_accept_irq";
    public static final String ACCEPT_POSTED = "kvm_apicv_accept_irq";
    public static final String UPDATE = "kvm_pi_irte_update";
    public static final String SET_IRQ = "kvm_set_irq";
    public static final String GA_LOG = "kvm_avic_ga_log";
    public static final String VGIC = "vgic_update_irq_pending";

    private static final String KVM = "kvm/";
    /** In handlers of interrupts, and by workers. Other threads decode messages all the time, of any VM. */
    private static final String CONTEXT = "(common_flags & 8) || comm ~ \"kworker*\"";

    private static final int LONGEST_FILTER = 3000;
    private static final List<String> ROWS = List.of("PIN", "NPI", "PIW");
    private static final List<String> STATISTICS = List.of("exits", "irq_exits", "irq_injections", "halt_wakeup");
    /** Delivery modes in the kernel's words, by their numbers. */
    private static final List<String> MODES =
            List.of("Fixed", "LowPrio", "SMI", "Res3", "NMI", "INIT", "SIPI", "ExtINT");

    private static final int MOST_MESSAGES = 8;
    /** A worker that runs later does not run for this interrupt. */
    private static final long SOON_NANOS = 10_000_000;

    /** Data about one host irq, gathered while the trace is read. */
    private static final class Gathered {
        long handled;
        final TreeSet<String> messages = new TreeSet<>();
        final TreeSet<Long> vectors = new TreeSet<>();
        final TreeSet<Long> addressed = new TreeSet<>();
        final TreeSet<Long> accepted = new TreeSet<>();
        final TreeSet<Long> gsis = new TreeSet<>();
        final TreeSet<Long> workerGsis = new TreeSet<>();
        Optional<Live.Update> update = Optional.empty();
    }

    private final List<PciAddress> devices;
    private final List<VmProcess> guests;
    private final Optional<Tracing> tracing;
    private final Optional<Probes> probes;
    private final boolean arm;
    private final Set<Integer> known;
    private final List<PciAddress> bound;
    /** The processes that had VMs when the watch began. */
    private final Set<Integer> earlier;
    /** The guests' processes by their threads, also by those that ended meanwhile. */
    private final Map<Integer, Integer> processes = new HashMap<>();

    private final Map<Integer, VcpuId> vcpus = new HashMap<>();

    private final List<TraceEvent> traced = new ArrayList<>();
    private final Map<Integer, Boolean> workers = new HashMap<>();
    private final Duration cpuBefore;
    private Duration cpuBegun = Duration.ZERO;
    private final long beginsToSet;
    private long begin;
    private Map<String, Long> before = Map.of();

    private LiveWindow(
            LiveHost machine,
            HostFacts host,
            List<PciAddress> devices,
            List<VmProcess> guests,
            boolean byTracepoints,
            boolean byProbes) {
        super(machine);
        this.beginsToSet = machine.nanos();
        this.cpuBefore = machine.cpu();
        this.devices = List.copyOf(devices);
        this.guests = List.copyOf(guests);
        this.arm = host.isArm();
        this.known = armed(host);
        this.bound = devices.stream().filter(device -> isBound(host, device)).toList();
        this.earlier = host.vms().all().stream().map(VmProcess::pid).collect(Collectors.toSet());
        this.tracing = byTracepoints ? open(machine.tracing()) : Optional.empty();
        this.probes = byProbes ? machine.probes(tasks()).flatMap(this::count) : Optional.empty();
    }

    /**
     * Begins.
     *
     * @param host as it was just before
     * @param devices whose interrupts are asked for
     * @param guests whose events are told apart
     * @param byProbes whether probes count too, where the machine has them
     */
    public static LiveWindow begin(
            LiveHost machine, HostFacts host, List<PciAddress> devices, List<VmProcess> guests, boolean byProbes) {
        LiveWindow window = new LiveWindow(machine, host, devices, guests, true, byProbes);
        window.begin(() -> {
            window.record();
            window.before = window.counters(new HostFacts(machine.files()));
            window.seeThreads(host, guests);
            window.cpuBegun = machine.cpu();
            window.begin = machine.nanos();
        });
        return window;
    }

    /** Begins to count by probes alone, for {@link #counted(HostFacts)}. */
    public static LiveWindow ofProbes(LiveHost machine, HostFacts host) {
        LiveWindow window = new LiveWindow(machine, host, List.of(), host.vms().all(), false, true);
        window.probes
                .flatMap(probes -> probes.read().known())
                .ifPresent(counts -> window.notes.addAll(counts.missing()));
        return window;
    }

    /** Sentences without a full stop: what was removed of killed runs, and what this kernel does not count. */
    public List<String> notes() {
        return List.copyOf(notes);
    }

    /** The counts of the probes since the last call, for all guests of a host. Empty if they cannot be read. */
    public Optional<Stages.Counted> counted(HostFacts now) {
        processes.clear();
        vcpus.clear();
        seeThreads(now, now.vms().all());
        return probes.flatMap(probes -> probes.readMore().known()).map(counts -> counted(counts, now));
    }

    /** Why no probes count. Empty if they do. */
    public Optional<String> withoutProbes() {
        return probes.isPresent()
                ? Optional.empty()
                : Optional.of(
                        missing.stream().map(Known.Unknown::why).findFirst().orElse("tracefs is not mounted"));
    }

    private void record() {
        if (tracing.isEmpty()) {
            return;
        }
        Tracing own = tracing.get();
        if (!devices.isEmpty()) {
            // By name, irqs that VFIO arms later are recorded too; the event of a handler's end has no name.
            choose(own, "irq/" + ENTRY, names());
            if (!known.isEmpty()) {
                choose(own, "irq/" + EXIT, filter());
            }
            if (!arm) {
                choose(own, KVM + UPDATE, "");
                choose(own, KVM + GA_LOG, "");
            }
        }
        // The probes count every thread that signals an irqfd: a record per signal would cost more than it shows.
        if (!devices.isEmpty() || probes.isEmpty()) {
            choose(own, KVM + SET_IRQ, "");
            for (String event : arm ? List.of(VGIC) : List.of(MESSAGE, ACCEPT, ACCEPT_POSTED)) {
                choose(own, KVM + event, devices.isEmpty() ? "" : CONTEXT);
            }
        }
        start(own, traced::add); // Lost events are counted.
    }

    /** The host irqs of the devices that VFIO has armed. */
    private Set<Integer> armed(HostFacts host) {
        return armedVectors(host).map(vector -> vector.irq().number()).collect(Collectors.toCollection(TreeSet::new));
    }

    private Stream<ArmedVector> armedVectors(HostFacts host) {
        return devices.stream().flatMap(device -> host.armed(device).stream());
    }

    private static boolean isBound(HostFacts host, PciAddress device) {
        return host.pci(device).filter(PciDevice::isBoundToVfio).isPresent();
    }

    /** VFIO names a handler such as {@code vfio-msix[0](0000:3b:00.0)}. */
    private String names() {
        String each = devices.stream()
                .map(device -> "name ~ \"vfio*(" + device + ")\"")
                .collect(Collectors.joining(" || "));
        return each.length() < LONGEST_FILTER ? each : "name ~ \"vfio*\"";
    }

    private String filter() {
        String each = known.stream().map(irq -> "irq == " + irq).collect(Collectors.joining(" || "));
        if (each.length() < LONGEST_FILTER) {
            return each;
        }
        TreeSet<Integer> sorted = new TreeSet<>(known);
        return "irq >= " + sorted.first() + " && irq <= " + sorted.last();
    }

    // Counters

    private Map<String, Long> counters(HostFacts host) {
        Map<String, Long> counters = new LinkedHashMap<>();
        armedVectors(host).forEach(vector -> counters.put(name(vector.irq().number()), vector.count()));
        host.interrupts()
                .ifPresent(all -> ROWS.forEach(row -> all.count(row).ifPresent(count -> counters.put(row, count))));
        for (VmProcess guest : guests) {
            VcpuThreads.directories(host, guest).forEach(directory -> statistics(host, directory, counters));
        }
        return counters;
    }

    private static String name(int irq) {
        return "host irq " + irq;
    }

    private static void statistics(HostFacts host, String directory, Map<String, Long> counters) {
        for (String name : STATISTICS) {
            host.debugfs("kvm/" + directory + "/" + name, "none")
                    .known()
                    .filter(text -> text.matches("\\d{1,18}"))
                    .ifPresent(text -> counters.put("kvm/" + directory + "/" + name, Long.parseLong(text)));
        }
    }

    private Set<Integer> tasks() {
        return guests.stream().flatMap(this::tasks).collect(Collectors.toSet());
    }

    private void seeThreads(HostFacts host, List<VmProcess> seen) {
        for (VmProcess guest : seen) {
            tasks(guest).forEach(task -> processes.put(task, guest.pid()));
            vcpus.putAll(VcpuThreads.vcpus(host, guest));
        }
    }

    private Stream<Integer> tasks(VmProcess guest) {
        return machine.files().list("proc/" + guest.pid() + "/task").stream()
                .filter(name -> name.matches("\\d{1,9}"))
                .map(Integer::valueOf);
    }

    /** A guest that is started again has its name or its devices. */
    private static boolean isSame(VmProcess process, VmProcess other) {
        return process.guest().isPresent() && process.guest().equals(other.guest())
                || process.arguments().size() > 1 && process.arguments().equals(other.arguments())
                || process.devices().stream().anyMatch(other.devices()::contains);
    }

    /** Names the guests that ended, and follows those that began in their place. */
    private void follow(HostFacts after) {
        for (VmProcess guest : guests) {
            if (tasks(guest).findAny().isEmpty()) {
                List<VmProcess> next = after.vms().all().stream()
                        .filter(vm -> !earlier.contains(vm.pid()) && isSame(guest, vm))
                        .toList();
                seeThreads(after, next);
                notes.add("process " + guest.pid()
                        + " of the guest ended during the watch, so its interrupts are counted until then"
                        + next.stream()
                                .map(vm -> ", and those of process " + vm.pid() + ", which replaced it, since its"
                                        + " start")
                                .collect(Collectors.joining()));
            }
        }
    }

    /** The processes of VMs that got signals of the devices, and that are not of the guests. */
    private void follow(ProbeCounts counts, Set<Integer> irqs, HostFacts after) {
        Set<Integer> eventfds = counts.handlers().stream()
                .filter(handler -> irqs.contains(handler.irq()))
                .map(ProbeCounts.Handler::eventfd)
                .collect(Collectors.toSet());
        Set<Integer> creators = counts.irqfds().stream()
                .filter(irqfd -> eventfds.contains(irqfd.eventfd()))
                .map(ProbeCounts.Irqfd::creator)
                .filter(thread -> !processes.containsKey(thread))
                .collect(Collectors.toSet());
        seeThreads(
                after,
                after.vms().all().stream()
                        .filter(vm -> tasks(vm).anyMatch(creators::contains))
                        .toList());
    }

    // The end

    /**
     * Ends it, and closes it.
     *
     * @param after the host, not read until now
     */
    public Live end(HostFacts after) {
        long ended = machine.nanos();
        Duration cost = machine.cpu().minus(cpuBegun);
        // Before the probes are read, so that they count each interrupt that the host counts.
        Map<String, Long> now = counters(after);
        Optional<ProbeCounts> counts = probes.flatMap(this::counts);
        Optional<Tracing.Lost> lost = stop(tracing);
        readToEnd();
        close();
        if (lost.isEmpty()) {
            formats.clear();
        }
        seeThreads(after, guests);
        follow(after);
        bound.stream()
                .filter(device -> !isBound(after, device))
                .forEach(device ->
                        notes.add(device + " is no longer bound to VFIO, because it was unbound during the watch"));
        Map<String, Long> grown = new LinkedHashMap<>();
        if (after.interrupts().isEmpty()) {
            missing.add(after.noInterrupts());
        }
        now.forEach((name, count) -> {
            Long earlier = before.get(name);
            // A vector that was armed meanwhile began at 0, mostly.
            grown.put(name, count - (earlier == null || earlier > count ? 0 : earlier));
        });
        TreeSet<Integer> irqs = new TreeSet<>(known);
        irqs.addAll(armed(after));
        counts.ifPresent(found -> {
            follow(found, irqs, after);
            silence(found, irqs, grown, after);
        });
        List<Live.Seen> seen = new ArrayList<>();
        Map<Integer, Live.Irq> each = events(traced, irqs, grown, seen);
        List<Live.Counter> counters = grown.entrySet().stream()
                .map(entry -> new Live.Counter(entry.getKey(), entry.getValue()))
                .toList();
        Duration around = machine.cpu().minus(cpuBefore).minus(cost);
        return new Live(
                Duration.ofNanos(ended - begin),
                cost,
                around,
                Duration.ofNanos(begin - beginsToSet),
                Duration.ofNanos(machine.nanos() - ended),
                counters,
                seen,
                each,
                missing,
                lost.orElse(NONE).total(),
                notes,
                counts.map(found -> counted(found, after)));
    }

    /** Names the cause if the host handled interrupts and the probes counted none. */
    private void silence(ProbeCounts counts, Set<Integer> irqs, Map<String, Long> grown, HostFacts after) {
        Optional<Known.Unknown<Long>> silent = after.silentProbes();
        silent.ifPresent(missing::add);
        for (int irq : irqs) {
            long handled = grown.getOrDefault(name(irq), 0L);
            if (handled > 0 && counts.handlers().stream().noneMatch(handler -> handler.irq() == irq)) {
                notes.add(name(irq) + " has no stages: the host handled it " + handled
                        + " times, but the probe of VFIO's handler counted none: "
                        + silent.map(Known.Unknown::why)
                                .orElse(
                                        counts.missing().isEmpty()
                                                ? "no file shows why"
                                                : String.join("; ", counts.missing())));
            }
        }
    }

    private Stages.Counted counted(ProbeCounts counts, HostFacts after) {
        Map<Integer, String> names = new HashMap<>();
        counts.callers().forEach(caller -> names.computeIfAbsent(caller.thread(), this::comm));
        Set<Integer> shared = after.armed().stream()
                .filter(vector -> !vector.sharers().isEmpty())
                .map(vector -> vector.irq().number())
                .collect(Collectors.toSet());
        Set<Integer> gone = counts.taken().stream()
                .map(ProbeCounts.Taken::thread)
                .filter(thread -> !processes.containsKey(thread)
                        && machine.files().list("proc/" + thread).isEmpty())
                .collect(Collectors.toSet());
        Map<Integer, Long> unread = new HashMap<>();
        after.vms().all().stream().flatMap(vm -> vm.eventfds().stream()).forEach(file -> file.id()
                .ifPresent(id -> unread.put(id, file.count())));
        return new Stages.Counted(
                counts, arm, VcpuThreads.areInjected(machine.files()), processes, vcpus, names, shared, gone, unread);
    }

    private Map<Integer, Live.Irq> events(
            List<TraceEvent> events, Set<Integer> irqs, Map<String, Long> grown, List<Live.Seen> seen) {
        Map<Integer, Gathered> gathered = new TreeMap<>();
        irqs.forEach(irq -> gathered.put(irq, new Gathered()));
        Map<Integer, Integer> running = new HashMap<>();
        Map<String, long[]> counts = new LinkedHashMap<>();
        formats.keySet().forEach(name -> counts.put(name, new long[4]));
        Map<Integer, Gathered> last = new HashMap<>();
        Map<Integer, Long> since = new HashMap<>();
        for (TraceEvent event : events) {
            long[] count = counts.get(event.name());
            if (count == null) {
                continue;
            }
            Gathered in = event.hardIrq() ? gathered.get(running.getOrDefault(event.cpu(), -1)) : null;
            boolean worker = !event.hardIrq() && workers.computeIfAbsent(event.tid(), this::isWorker);
            boolean own = !event.hardIrq() && processes.containsKey(event.tid());
            switch (event.name()) {
                case ENTRY -> {
                    int irq = (int) event.number("irq").orElse(-1);
                    running.put(event.cpu(), irq);
                    in = gathered.get(irq);
                    if (in != null) {
                        in.handled++;
                        last.put(event.cpu(), in);
                        since.put(event.cpu(), event.nanos());
                    }
                }
                case EXIT -> running.remove(event.cpu());
                case UPDATE -> {
                    Gathered irq = gathered.get((int) event.number("host_irq").orElse(-1));
                    if (irq != null) {
                        irq.update = Optional.of(update(event));
                    }
                }
                case SET_IRQ -> {
                    // An irqfd that cannot raise its GSI at once leaves that to a worker of the same CPU.
                    boolean raised = worker && event.number("level").orElse(0) != 0;
                    Gathered before = raised ? last.remove(event.cpu()) : null;
                    if (before != null
                            && before.messages.isEmpty()
                            && event.nanos() - since.getOrDefault(event.cpu(), 0L) < SOON_NANOS) {
                        event.number("gsi").ifPresent(before.workerGsis::add);
                    }
                    if (in != null) {
                        event.number("gsi").ifPresent(in.gsis::add);
                    }
                }
                default -> {
                    if (in != null) {
                        inHandler(event, in);
                    }
                }
            }
            count[0]++;
            count[1] += in != null && !event.name().equals(UPDATE) ? 1 : 0;
            count[2] += own ? 1 : 0;
            count[3] += worker ? 1 : 0;
        }
        counts.forEach((name, count) -> seen.add(new Live.Seen(name, count[0], count[1], count[2], count[3])));
        Map<Integer, Live.Irq> each = new TreeMap<>();
        gathered.forEach((irq, parts) -> each.put(
                irq,
                new Live.Irq(
                        Optional.ofNullable(grown.get(name(irq)))
                                .map(OptionalLong::of)
                                .orElse(OptionalLong.empty()),
                        parts.handled,
                        known.contains(irq) && formats.containsKey(EXIT),
                        parts.messages,
                        parts.vectors,
                        parts.addressed,
                        parts.accepted,
                        parts.gsis,
                        workerGsi(parts, gathered),
                        parts.update)));
        return each;
    }

    private boolean isWorker(int tid) {
        return comm(tid).startsWith("kworker/");
    }

    private String comm(int tid) {
        return machine.files().text("proc/" + tid + "/comm").orElse("").strip();
    }

    private static void inHandler(TraceEvent event, Gathered irq) {
        switch (event.name()) {
            case MESSAGE -> {
                long address = event.number("address").orElse(0);
                long data = event.number("data").orElse(0);
                irq.vectors.add(data & 0xff);
                if (irq.messages.size() < MOST_MESSAGES) {
                    irq.messages.add(text(address, data));
                }
            }
            // The kernel gives it the id of the vCPU.
            case ACCEPT -> event.number("apicid").ifPresent(irq.addressed::add);
            case ACCEPT_POSTED -> event.number("apicid").ifPresent(irq.accepted::add);
            case VGIC -> {
                event.number("vcpu_id").ifPresent(irq.addressed::add);
                event.number("irq").ifPresent(irq.vectors::add);
            }
            default -> {}
        }
    }

    /** A message as {@code kvm_msi_set_irq} prints it. */
    private static String text(long address, long data) {
        long destination = address >> 12 & 0xff | address >> 32 & 0xffffff00L;
        return "dst " + Long.toHexString(destination) + " vec " + (data & 0xff) + " ("
                + MODES.get((int) (data >> 8 & 7)) + ((address & 4) != 0 ? "|logical" : "|physical")
                + ((data & 0x8000) != 0 ? "|level" : "|edge") + ((address & 8) != 0 ? "|rh)" : ")");
    }

    private static Live.Update update(TraceEvent event) {
        return new Live.Update(
                event.number("set").orElse(0) != 0, event.number("vcpu_id"), event.number("gsi"), event.number("gvec"));
    }

    /** The GSI, if it was always the same and followed no other irq. */
    private static OptionalLong workerGsi(Gathered gathered, Map<Integer, Gathered> all) {
        boolean alone = gathered.workerGsis.size() == 1
                && all.values().stream()
                        .allMatch(
                                other -> other == gathered || !other.workerGsis.contains(gathered.workerGsis.first()));
        return alone ? OptionalLong.of(gathered.workerGsis.first()) : OptionalLong.empty();
    }
}
