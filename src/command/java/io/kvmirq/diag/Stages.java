/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.Errno;
import io.kvmirq.VcpuId;
import io.kvmirq.host.trace.ProbeCounts;
import io.kvmirq.host.trace.ProbeCounts.Accepted;
import io.kvmirq.host.trace.ProbeCounts.Caller;
import io.kvmirq.host.trace.ProbeCounts.Handler;
import io.kvmirq.host.trace.ProbeCounts.Irqfd;
import io.kvmirq.host.trace.ProbeCounts.Latency;
import io.kvmirq.host.trace.ProbeCounts.Message;
import io.kvmirq.host.trace.ProbeCounts.Raised;
import io.kvmirq.host.trace.ProbeCounts.Starved;
import io.kvmirq.host.trace.ProbeCounts.Taken;
import io.kvmirq.host.trace.ProbeCounts.Unrouted;
import io.kvmirq.path.Hop;
import io.kvmirq.path.ProcessId;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.IntPredicate;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The stages that interrupts pass, each with its count. Counting begins at the vCPU, and counts are read from the
 * device on: a later stage may count more than an earlier one, and counts less only if interrupts are lost or merged.
 * Immutable.
 *
 * <p>Source: {@code kvm_arch_set_irq_inatomic()} and {@code kvm_irq_delivery_to_apic_fast()} in arch/x86/kvm, which return
 * the number of vCPUs, 0 or -1 if there is none whose LAPIC is on, and -EWOULDBLOCK to leave it to a worker. On arm64 0 is
 * success. {@code kvm_set_irq()} in virt/kvm/irqchip.c adds the results of the chips that took it.
 *
 * @param stages from the device to the vCPU
 * @param loses the first stage that loses interrupts, with their number and the reason
 * @param at the hop of that stage
 * @param doubt the first stage that may lose interrupts, with the reason why that is not known. Empty if one certainly does
 */
public record Stages(List<Stage> stages, Optional<String> loses, Optional<Hop<?>> at, Optional<String> doubt) {
    /**
     * A stage.
     *
     * @param hop the step of the path at which it is counted
     * @param count empty if it was not seen
     * @param atLeast whether events were missed, so that it may be more
     * @param latency the time until it, as printed. Empty if it was not measured
     */
    public record Stage(
            Hop<?> hop, String label, OptionalLong count, boolean atLeast, String value, Optional<String> latency) {
        /** The count as printed. */
        public String counted() {
            return count.isEmpty() ? "not seen" : (atLeast ? "at least " : "") + count.getAsLong();
        }

        private Stage plus(Stage later) {
            boolean isBoth = count.isPresent() && later.count.isPresent();
            return new Stage(
                    hop,
                    label,
                    isBoth ? OptionalLong.of(count.getAsLong() + later.count.getAsLong()) : later.count,
                    atLeast || later.atLeast,
                    later.value,
                    later.latency);
        }
    }

    /** In a microsecond. */
    private static final int NANOS_PER_MICRO = 1000;

    private static final String HELD_TEXT =
            "still waiting, unless the guest has since unmasked the pin or signalled its EOI";

    private static final int EWOULDBLOCK = -Errno.EAGAIN.number();

    public Stages {
        stages = List.copyOf(stages);
    }

    /** These stages and those of a later time: the sums of the counts, and the loss and the doubt of the later time. */
    public Stages then(Stages later) {
        Map<String, Stage> sums = new LinkedHashMap<>();
        Stream.of(this, later)
                .flatMap(part -> part.stages.stream())
                .forEach(stage -> sums.merge(stage.label(), stage, Stage::plus));
        return new Stages(List.copyOf(sums.values()), later.loses, later.at, later.doubt);
    }

    /**
     * A machine's counts. Immutable.
     *
     * @param arm whether it is an arm64
     * @param injects whether KVM injects each interrupt itself, and no hardware does
     * @param processes the process of each thread of the guests that are watched
     * @param vcpus their vCPUs, by the thread that runs each
     * @param names those of the threads that signalled irqfds
     * @param shared the host irqs whose line has handlers of several devices
     * @param gone the threads that took vectors and ended, of any process
     * @param unread the counts of the eventfds that processes with a VM have open after the watch
     */
    public record Counted(
            ProbeCounts counts,
            boolean arm,
            boolean injects,
            Map<Integer, Integer> processes,
            Map<Integer, VcpuId> vcpus,
            Map<Integer, String> names,
            Set<Integer> shared,
            Set<Integer> gone,
            Map<Integer, Long> unread) {
        public Counted {
            processes = Map.copyOf(processes);
            vcpus = Map.copyOf(vcpus);
            names = Map.copyOf(names);
            shared = Set.copyOf(shared);
            gone = Set.copyOf(gone);
            unread = Map.copyOf(unread);
        }

        /** The signals of a host irq that no irqfd took, by their eventfd. */
        public Map<Integer, Long> untaken(int irq) {
            Map<Integer, Long> untaken = new TreeMap<>();
            counts.handlers().stream()
                    .filter(handler -> handler.irq() == irq)
                    .forEach(handler -> untaken.merge(handler.eventfd(), handler.count(), Long::sum));
            counts.irqfds()
                    .forEach(
                            irqfd -> untaken.computeIfPresent(irqfd.eventfd(), (id, count) -> count - irqfd.signals()));
            untaken.values().removeIf(count -> count <= 0);
            return untaken;
        }

        /** Whether nobody has read such signals: each adds to the count of its eventfd, and a read takes all. */
        public boolean isUnread(Map<Integer, Long> untaken) {
            return untaken.entrySet().stream()
                    .anyMatch(entry -> unread.getOrDefault(entry.getKey(), 0L) >= entry.getValue());
        }

        /** Whether a count of 0 proves that no vCPU took the vector. */
        boolean seesTaken() {
            return injects && counts.isTakenCounted() && counts.missed() == 0;
        }

        /** Whether a guest that took a vector and wrote no EOI is known. */
        boolean seesEnded() {
            return seesTaken() && counts.isEndedCounted();
        }

        /** The counts of the guests' threads. */
        List<Taken> ofGuests(List<Taken> all, Set<Integer> vectors) {
            return all.stream()
                    .filter(taken -> processes.containsKey(taken.thread()) && vectors.contains(taken.vector()))
                    .toList();
        }

        /** Whether it is of a guest, or takes the signals of an irqfd of a guest. */
        boolean isOfGuest(Irqfd irqfd) {
            return processes.containsKey(irqfd.creator())
                    || counts.starved().stream()
                            .anyMatch(starved ->
                                    starved.eventfd() == irqfd.eventfd() && processes.containsKey(starved.creator()));
        }

        /** Whether a process with a VM has one of these eventfds open after the watch. */
        public boolean isOpen(Set<Integer> eventfds) {
            return eventfds.stream().anyMatch(unread::containsKey);
        }

        /** The number of eventfds of the guests that have messages with a vector. */
        long eventfdsOf(int vector) {
            return counts.irqfds().stream()
                    .filter(irqfd -> processes.containsKey(irqfd.creator())
                            && irqfd.messages().stream().anyMatch(message -> message.vector() == vector))
                    .map(Irqfd::eventfd)
                    .distinct()
                    .count();
        }

        /** The threads that signalled an eventfd. */
        String callers(int eventfd) {
            String callers = counts.callers().stream()
                    .filter(caller -> caller.eventfd() == eventfd)
                    .map(Caller::thread)
                    .distinct()
                    .sorted()
                    .map(this::caller)
                    .collect(Collectors.joining(", "));
            return callers.isEmpty() ? "the handler of an interrupt" : callers;
        }

        /** Workers of vhost have this name, as threads of the kernel and, since Linux 6.4, as threads of the VMM. */
        private String caller(int thread) {
            String name = names.getOrDefault(thread, "");
            String who = name.startsWith("vhost-")
                    ? "vhost"
                    : processes.containsKey(thread)
                            ? "the VMM"
                            : name.startsWith("kworker/")
                                    ? "a kernel worker"
                                    : name.isEmpty() ? "a process that is not in /proc" : "another process";
            return who + " (" + (name.isEmpty() ? "" : name + ", ") + "thread " + thread + ")";
        }

        /** The processes of the VMs that threads created; none if that of one is not known. */
        private List<ProcessId> processes(List<Integer> creators) {
            return processes.keySet().containsAll(creators)
                    ? creators.stream()
                            .flatMap(thread -> Stream.ofNullable(processes.get(thread)))
                            .distinct()
                            .sorted()
                            .map(ProcessId::new)
                            .toList()
                    : List.of();
        }

        /** The VMs that threads created. The VM of another guest is named by its thread. */
        private String vms(Stream<Integer> creators) {
            return creators.map(thread -> processes.containsKey(thread)
                            ? "process " + processes.get(thread)
                            : "a VM that thread " + thread + " created")
                    .distinct()
                    .sorted()
                    .collect(Collectors.joining(", "));
        }

        /** The ids of the eventfds that the handler of a host irq signalled. */
        public SortedSet<Integer> eventfds(int irq) {
            return counts.handlers().stream()
                    .filter(handler -> handler.irq() == irq)
                    .map(Handler::eventfd)
                    .collect(Collectors.toCollection(TreeSet::new));
        }

        /** The irqfds that took signals of these eventfds. */
        public Signals signals(Set<Integer> eventfds) {
            return signals(counts.irqfds().stream()
                    .filter(irqfd -> eventfds.contains(irqfd.eventfd()))
                    .toList());
        }

        private Signals signals(List<Irqfd> irqfds) {
            return new Signals(this, irqfds, irqfds.stream().map(Irqfd::eventfd).collect(Collectors.toSet()));
        }
    }

    /** Irqfds that took signals, and all that was counted of their eventfds. Immutable. */
    public record Signals(Counted counted, List<Irqfd> irqfds, Set<Integer> eventfds) {
        private <T> Stream<T> counted(Collection<T> all, ToIntFunction<T> eventfd) {
            return all.stream().filter(event -> eventfds.contains(eventfd.applyAsInt(event)));
        }

        /** The number of signals. */
        public long count() {
            return irqfds.stream().mapToLong(Irqfd::signals).sum();
        }

        /** The VMs of the irqfds. */
        public String vms() {
            return counted.vms(irqfds.stream().map(Irqfd::creator));
        }

        /** The processes of {@link #vms}; none if one of them is not known. */
        public List<ProcessId> processes() {
            return counted.processes(irqfds.stream().map(Irqfd::creator).toList());
        }

        public SortedSet<Integer> gsis() {
            return irqfds.stream().map(Irqfd::gsi).collect(Collectors.toCollection(TreeSet::new));
        }

        /** The messages of the routes that are messages. */
        public List<Message> messages() {
            return irqfds.stream()
                    .filter(irqfd -> irqfd.routes().containsKey(Uapi.KVM_IRQ_ROUTING_MSI))
                    .flatMap(irqfd -> irqfd.messages().stream())
                    .distinct()
                    .sorted(Comparator.comparingLong(Message::data))
                    .toList();
        }

        public List<Accepted> accepted() {
            return counted(counted.counts().accepted(), Accepted::eventfd).toList();
        }

        /** The number of results of workers. */
        public long raised(IntPredicate which) {
            return counted(counted.counts().raised(), Raised::eventfd)
                    .filter(raised -> which.test(raised.result()))
                    .mapToLong(Raised::count)
                    .sum();
        }

        /** The number of workers that found no route. */
        private long withoutChip() {
            return counted(counted.counts().unrouted(), Unrouted::eventfd)
                    .mapToLong(Unrouted::count)
                    .sum();
        }

        /** The number of signals that found no route. On x86 a GSI may have several, and only the worker knows. */
        public long unrouted() {
            long untyped = types(type -> type == 0);
            long none = withoutChip();
            return counted.arm() || none > 0 && none == raised(result -> true) ? untyped : Math.min(untyped, none);
        }

        /** Whether an irqfd has no resamplefd, so that KVM keeps no signal that it cannot raise. */
        private boolean isPulsed() {
            return eventfds.stream().anyMatch(counted.counts().pulsed()::contains);
        }

        /** The number of signals that KVM delivered without a worker. */
        public long sent() {
            return results(this::isSent);
        }

        private boolean isSent(int result) {
            return counted.arm() ? result == 0 : result > 0;
        }

        private boolean isRefused(int result) {
            return !isSent(result) && result != EWOULDBLOCK;
        }

        private long results(IntPredicate which) {
            return sum(Irqfd::results, which);
        }

        /** The number of signals for which an irqfd had a route of such types. */
        private long types(IntPredicate which) {
            return sum(Irqfd::routes, which);
        }

        private long sum(Function<Irqfd, Map<Integer, Long>> counts, IntPredicate which) {
            return irqfds.stream()
                    .flatMap(irqfd -> counts.apply(irqfd).entrySet().stream())
                    .filter(entry -> which.test(entry.getKey()))
                    .mapToLong(Map.Entry::getValue)
                    .sum();
        }

        /** The number of signals that KVM refused, with the reason. Empty if there are none. */
        public String refusals() {
            Map<String, Long> reasons = new TreeMap<>();
            irqfds.forEach(irqfd -> irqfd.results().forEach((result, count) -> {
                if (isRefused(result)) {
                    reasons.merge(refusal(result), count, Long::sum);
                }
            }));
            return reasons.entrySet().stream()
                    .map(entry -> entry.getValue() + " because " + entry.getKey())
                    .collect(Collectors.joining(", "));
        }

        private static String refusal(int result) {
            return switch (result) {
                case 0, -1 -> "no vCPU matches the destination, or its LAPIC is off";
                default -> "of error " + -result;
            };
        }
    }

    /** The stages of a host irq. Empty if its handler was not counted. */
    public static Optional<Stages> count(Counted counted, int irq) {
        SortedSet<Integer> eventfds = counted.eventfds(irq);
        if (eventfds.isEmpty()) {
            return Optional.empty();
        }
        long handled = counted.counts().handlers().stream()
                .filter(handler -> handler.irq() == irq)
                .mapToLong(Handler::count)
                .sum();
        Signals signals = counted.signals(eventfds);
        StageSteps steps = new StageSteps(signals);
        steps.add(Hop.HOST_IRQ, "host irq", handled, String.valueOf(irq), Optional.empty());
        boolean isShared = counted.shared().contains(irq);
        steps.add(
                Hop.EVENTFD,
                "eventfd",
                isShared ? OptionalLong.empty() : OptionalLong.of(handled),
                "id " + listed(eventfds)
                        + (isShared ? ": the line is shared, so other devices also run the handler" : ""),
                Optional.empty());
        if (!isShared) {
            steps.untaken(handled - signals.count(), counted.untaken(irq));
        }
        return Optional.of(steps.irqfds());
    }

    /** The stages of each irqfd of the guests whose eventfd is signalled by threads, and not by a counted handler. */
    public static List<Stages> ofThreads(Counted counted) {
        Set<Integer> handled =
                counted.counts().handlers().stream().map(Handler::eventfd).collect(Collectors.toSet());
        return counted.counts().irqfds().stream()
                .filter(irqfd -> !handled.contains(irqfd.eventfd()) && counted.isOfGuest(irqfd))
                .collect(Collectors.groupingBy(Irqfd::eventfd, TreeMap::new, Collectors.toList()))
                .entrySet()
                .stream()
                .map(entry -> {
                    Signals signals = counted.signals(entry.getValue());
                    StageSteps steps = new StageSteps(signals);
                    String value = "id " + entry.getKey() + ", signalled by " + counted.callers(entry.getKey());
                    steps.add(Hop.EVENTFD, "eventfd", signals.count(), value, Optional.empty());
                    return steps.irqfds();
                })
                .toList();
    }

    private static String listed(Collection<Integer> numbers) {
        return new TreeSet<>(numbers).stream().map(String::valueOf).collect(Collectors.joining(", "));
    }

    /** For one use. */
    private static final class StageSteps {
        private final Signals signals;
        private final Counted counted;
        private final List<Stage> stages = new ArrayList<>();
        private Optional<String> loses = Optional.empty();
        private Optional<Hop<?>> at = Optional.empty();
        private Optional<String> doubt = Optional.empty();
        private boolean isPending;
        /** Messages that a worker could not deliver, and signals that no worker has raised. */
        private long refusedByWorker;

        private long waiting;
        /** Signals of pins whose level KVM keeps until it can raise them. */
        private long held;

        StageSteps(Signals signals) {
            this.signals = signals;
            this.counted = signals.counted();
        }

        void add(Hop<?> hop, String label, long count, String value, Optional<String> latency) {
            add(hop, label, OptionalLong.of(count), value, latency);
        }

        void add(Hop<?> hop, String label, OptionalLong count, String value, Optional<String> latency) {
            boolean atLeast = count.isPresent() && counted.counts().missed() > 0;
            stages.add(new Stage(hop, label, count, atLeast, value, latency));
        }

        private void loses(String stage, Hop<?> hop, long count, String why) {
            if (count > 0 && loses.isEmpty()) {
                at = Optional.of(hop);
                loses = Optional.of(stage + ": " + count + " " + why);
            }
        }

        /** A doubt that is less than that of a vector which no vCPU took. */
        private void pending(String stage, long count, String why) {
            isPending |= count > 0 && doubt.isEmpty();
            doubt(stage, count, why);
        }

        private void doubt(String stage, long count, String why) {
            if (count > 0 && doubt.isEmpty()) {
                doubt = Optional.of(stage + ": " + count + " " + why);
            }
        }

        /** Signals of a handler. QEMU reads an eventfd itself while the guest masks its vector, and sends them later. */
        void untaken(long signals, Map<Integer, Long> byEventfd) {
            if (counted.counts().missed() > 0) {
                // A difference of counts of which one is too small proves no loss.
                doubt("irqfd", signals, "signals that no irqfd consumed, if no probe missed them");
            } else if (counted.isUnread(byEventfd)) {
                loses("irqfd", Hop.IRQFD, signals, "signals that no irqfd consumed");
            } else {
                doubt(
                        "irqfd",
                        signals,
                        "signals that no irqfd consumed: "
                                + (counted.isOpen(byEventfd.keySet())
                                        ? "the VMM may have read them, or an irqfd consumed them later"
                                        : "no VMM has the eventfd open now"));
            }
        }

        Stages irqfds() {
            if (!signals.irqfds().isEmpty()) {
                long unrouted = signals.unrouted();
                long sent = signals.sent();
                long left = signals.results(result -> result == EWOULDBLOCK) - unrouted;
                // A worker raises the GSI when an eventfd is assigned that was signalled before. Or it began before the
                // watch to raise it.
                long assigned =
                        counted.arm() ? 0 : Math.max(0, signals.raised(result -> true) - signals.withoutChip() - left);
                List<Message> messages = signals.messages();
                List<Integer> starved = signals.counted(counted.counts().starved(), Starved::eventfd)
                        .map(Starved::creator)
                        .toList();
                if (!starved.isEmpty()) {
                    doubt = Optional.of("irqfd: the signals go to " + signals.vms()
                            + ", so another irqfd on the same eventfd, in "
                            + counted.vms(starved.stream()) + ", starves");
                }
                add(
                        Hop.IRQFD,
                        "irqfd",
                        signals.count(),
                        signals.vms(),
                        latency(ProbeCounts.Stage.IRQFD, "the handler"));
                add(Hop.GSI, "GSI", signals.count() - unrouted, "gsi " + listed(signals.gsis()), Optional.empty());
                loses("GSI", Hop.GSI, unrouted, "signals while the GSI had no route");
                add(
                        Hop.VCPU,
                        "delivered",
                        sent,
                        messages.stream().map(Message::toString).collect(Collectors.joining("; ")),
                        latency(ProbeCounts.Stage.DELIVERED, "the irqfd"));
                if (left + assigned > 0) {
                    byWorker(left, assigned);
                }
                long refused = signals.results(signals::isRefused);
                loses(
                        "delivered",
                        Hop.VCPU,
                        refused + refusedByWorker,
                        "that KVM refused" + (refused > 0 ? ", " + signals.refusals() : "")
                                + part(refusedByWorker, "in a worker because " + Signals.refusal(0)));
                doubt(
                        "delivered",
                        signals.count() - unrouted - sent - left - refused,
                        "whose result was not counted: the return probe of kvm_arch_set_irq_inatomic missed them");
                if (!counted.arm()) {
                    taken(messages, latency(ProbeCounts.Stage.TAKEN, "the irqfd"));
                }
            } else if (loses.isEmpty() && doubt.isEmpty()) {
                doubt = Optional.of(
                        "irqfd: no irqfd consumed a signal, which is no loss if only the line's other devices"
                                + " interrupted");
            }
            return new Stages(stages, loses, at, loses.isPresent() ? Optional.empty() : doubt);
        }

        /**
         * KVM keeps the level of a pin with a resamplefd and raises it later. Without one it lowers the pin at once: the
         * signal is lost, unless a PIC has kept the edge. On arm64 the result of a worker does not show whether the
         * message was delivered.
         *
         * @param worker the signals that KVM left to a worker, and that have a route
         * @param assigned how often a worker raised the GSI without a counted signal
         */
        private void byWorker(long worker, long assigned) {
            if (counted.arm()) {
                add(Hop.VCPU, "by a worker", worker, "a pin, or a message: the result is not shown", Optional.empty());
                return;
            }
            long raised = signals.raised(result -> result > 0);
            long merged = signals.raised(result -> result == 0);
            long refused = signals.raised(result -> result < 0) - signals.withoutChip();
            boolean pins = signals.types(type -> type == Uapi.KVM_IRQ_ROUTING_MSI) == 0
                    || signals.types(type -> type != 0 && type != Uapi.KVM_IRQ_ROUTING_MSI) > 0;
            String value = (pins
                            ? "a pin: "
                            : worker > signals.types(type -> type == 0) - signals.unrouted()
                                    ? "a message to several vCPUs: "
                                    : "a message: ")
                    + raised + " raised";
            if (pins) {
                value += part(merged, "merged, or the LAPIC is off")
                        + part(refused, "not raised: the pin is masked, or its EOI is due");
                pending("by a worker", merged, "that were merged, or whose LAPIC is off");
                if (signals.isPulsed()) {
                    doubt(
                            "by a worker",
                            refused,
                            "that were not raised, and KVM keeps none because the irqfd has no resample eventfd");
                } else {
                    held = refused;
                    pending("by a worker", raised == 0 ? held : 0, HELD_TEXT);
                }
            }
            waiting = worker + assigned - raised - merged - refused;
            value += part(waiting, "merged, or pending");
            value += part(assigned, "of these for signals before the watch, or before the irqfd was assigned");
            add(Hop.VCPU, "by a worker", worker + assigned, value, Optional.empty());
            refusedByWorker = pins ? 0 : merged + refused;
            doubt("by a worker", raised + merged + refused == 0 ? worker : 0, "for which no worker ran by the end");
        }

        private static String part(long count, String what) {
            return count > 0 ? ", " + count + " " + what : "";
        }

        /**
         * The number of vectors that LAPICs got: a message to many is one for each vCPU. The vector of a pin is known where
         * a worker gave it to a LAPIC.
         */
        private long given() {
            return signals.irqfds().stream()
                            .flatMap(irqfd -> irqfd.results().entrySet().stream())
                            .filter(entry -> entry.getKey() > 0)
                            .mapToLong(entry -> entry.getKey() * entry.getValue())
                            .sum()
                    + signals.accepted().stream().mapToLong(Accepted::count).sum();
        }

        /**
         * A LAPIC merges messages of one vector without an event of KVM. APIC virtualization injects without KVM, so no
         * event counts it.
         */
        private void taken(List<Message> messages, Optional<String> latency) {
            long given = given();
            if (given == 0 || !messages.stream().allMatch(Message::hasVector)) {
                return;
            }
            Set<Integer> vectors =
                    messages.stream().map(Message::vector).collect(Collectors.toCollection(TreeSet::new));
            signals.accepted().forEach(accepted -> vectors.add(accepted.vector()));
            List<Taken> all = counted.ofGuests(counted.counts().taken(), vectors);
            long taken = all.stream().mapToLong(Taken::count).sum();
            long gone = counted.counts().taken().stream()
                    .filter(event -> counted.gone().contains(event.thread()) && vectors.contains(event.vector()))
                    .mapToLong(Taken::count)
                    .sum();
            boolean isOfOthers = signals.irqfds().stream()
                    .anyMatch(irqfd -> !counted.processes().containsKey(irqfd.creator()));
            String vector = vectors.stream()
                            .map(number -> "vector 0x" + Integer.toHexString(number))
                            .collect(Collectors.joining(", "))
                    + (gone > 0 ? "; " + gone + " were taken by threads that ended" : "");
            if (taken == 0 && gone == 0 && counted.seesTaken() && !isOfOthers) {
                add(Hop.VCPU, "taken", 0, vector, Optional.empty());
                if (doubt.isEmpty() || isPending) {
                    doubt = Optional.of("taken: " + given
                            + " that no vCPU took: it is not running, or has interrupts off; one may be pending");
                }
            } else if (taken == 0) {
                add(
                        Hop.VCPU,
                        "taken",
                        OptionalLong.empty(),
                        vector
                                + (isOfOthers
                                        ? ": the process of one of the VMs is not watched"
                                        : gone > 0
                                                ? ""
                                                : counted.injects()
                                                        ? ": KVM's injections were not all counted"
                                                        : ": taken through hardware, or the vCPU did not run"),
                        Optional.empty());
            } else {
                String vcpus = all.stream()
                        .flatMap(event -> Optional.ofNullable(counted.vcpus().get(event.thread())).stream())
                        .distinct()
                        .sorted(Comparator.comparingInt(VcpuId::number))
                        .map(VcpuId::toString)
                        .collect(Collectors.joining(", "));
                long left = isOfOthers ? 0 : given - taken - gone;
                add(
                        Hop.VCPU,
                        "taken",
                        taken,
                        vector
                                + (vcpus.isEmpty() ? "" : " by " + vcpus)
                                + (left > 0 ? "; " + left + " were merged or are pending" : ""),
                        isOfOne(all) ? latency : Optional.empty());
                if (counted.seesTaken() && !isOfOthers) {
                    doubt("by a worker", Math.min(held, left + held), HELD_TEXT);
                }
                long ended = counted.ofGuests(counted.counts().ended(), vectors).stream()
                        .mapToLong(Taken::count)
                        .sum();
                if (counted.seesEnded() && ended < taken) {
                    String ends = "; the guest took " + taken + " and sent EOIs for " + ended;
                    doubt("taken", left, "that were merged or are pending" + ends);
                    doubt("by a worker", waiting, "that were merged or are pending" + ends);
                }
            }
        }

        /** Whether each vector has only one thread and one eventfd, because the kernel keeps one time for a vector. */
        private boolean isOfOne(List<Taken> all) {
            return all.stream()
                    .map(Taken::vector)
                    .distinct()
                    .allMatch(vector -> all.stream()
                                            .filter(taken -> taken.vector() == vector)
                                            .map(Taken::thread)
                                            .distinct()
                                            .count()
                                    == 1
                            && counted.eventfdsOf(vector) == 1);
        }

        /** The interval of the median, between two powers of two. */
        private Optional<String> latency(ProbeCounts.Stage stage, String since) {
            TreeMap<Integer, Long> powers = new TreeMap<>();
            long max = 0;
            for (Latency latency : counted.counts().latencies()) {
                if (latency.stage() == stage && signals.eventfds().contains(latency.eventfd())) {
                    latency.powers().forEach((power, count) -> powers.merge(power, count, Long::sum));
                    max = Math.max(max, latency.max());
                }
            }
            long all = powers.values().stream().mapToLong(Long::longValue).sum();
            long below = 0;
            for (Map.Entry<Integer, Long> entry : powers.entrySet()) {
                below += entry.getValue();
                if (2 * below >= all) {
                    return Optional.of("after " + since + ": median in ("
                            + (entry.getKey() == 0 ? "0" : microseconds(1L << entry.getKey() - 1)) + ", "
                            + microseconds(1L << entry.getKey()) + "] us, at most " + microseconds(max) + " us");
                }
            }
            return Optional.empty();
        }

        private static String microseconds(long nanos) {
            return nanos / NANOS_PER_MICRO + "." + String.format(Locale.ROOT, "%03d", nanos % NANOS_PER_MICRO);
        }
    }
}
