/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.rules.HostIrqRules;
import io.kvmirq.diag.rules.LinkRow;
import io.kvmirq.diag.sources.InterruptTicks;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Watches a host: rates by guest, vector and CPU, and changes. A tick reads counters, affinities, power states, the
 * configuration of devices, and whether a VMM is stopped; files other than KVM's counters stay open. A {@link HostScan} at all
 * else takes longer, so a thread takes one after the other: at once if a tick shows that something changed, and otherwise at
 * most a tenth of the time. Between looks, for another tenth, it asks kernel memory for changes. For one thread.
 *
 * <p>Source: {@code kvm_debugfs_open()} in virt/kvm/kvm_main.c: an open file of KVM's counters keeps the VM, and the devices
 * that it has, after its VMM has ended. So these are opened for each read.
 */
public final class Watcher implements AutoCloseable {
    /** The ticks for which a changed cell is marked. */
    private static final int MARKED_TICKS = 5;

    /** How many of its times a look waits until the next one. */
    private static final int LOOK_TIMES_BETWEEN_LOOKS = 10;

    /** The most rounds of a look, which takes another one if a tick has read a change meanwhile. */
    private static final int MOST_LOOK_ROUNDS = 2;

    /** The links that KVM changes while a vector stays armed. Kernel memory shows them. */
    private static final List<Hop<?>> REWIRED = List.of(Hop.IRQFD, Hop.GUEST_VECTOR);
    /** Kernel memory shows that there is none, which is a change though the link has no value. */
    private static final Set<String> NO_IRQFD = Set.of(LinkRow.text("irqfd.none"), LinkRow.text("irqfd.posted-past"));

    /** The rates of a row that are kept. */
    private static final int RATES_KEPT = 60;

    private static final int VALUE_BYTES = 256;
    /** Config space: the status register, the id of the PCI Express capability, and the status registers in it. */
    private static final int STATUS = 6;

    private static final int EXPRESS = 0x10;
    private static final int[] EXPRESS_STATUS = {0x0a, 0x12, 0x1a};

    /**
     * A guest, or a vector of a device.
     *
     * @param pid the guest's process; 0 for a vector without a guest
     * @param device empty for a guest
     * @param rate host irqs per second, of a guest those of its vectors; negative before the first interval's end
     * @param injected interrupts per second that KVM injected; of guests only, and negative if not shown
     * @param exits exits per second; likewise
     * @param cpu the CPU that handled most; negative if there were none
     * @param posted yes, no, or empty if it is not known
     * @param stages counts of the probes since they were set, while it was armed; none for a guest, and without probes
     * @param flaw the first flaw, or why it is not posted; empty without one
     * @param marked the cells that changed: cpu, posted, flaw
     * @param history the last rates, the newest last
     */
    public record Row(
            String guest,
            int pid,
            String device,
            String interrupt,
            int irq,
            double rate,
            double injected,
            double exits,
            int cpu,
            String posted,
            List<Stages.Stage> stages,
            String flaw,
            Set<String> marked,
            Deque<Double> history) {
        /** Whether it is a guest. */
        public boolean isGuest() {
            return device.isEmpty();
        }
    }

    /**
     * A change.
     *
     * @param what the kind, a word such as {@code affinity}
     * @param device empty for a guest
     * @param interrupt empty for a device
     */
    public record Event(String what, String guest, String device, String interrupt, String text) {}

    /**
     * Results of a tick.
     *
     * @param seconds the time since the tick before; 0 for the first
     * @param rows guests, each followed by its vectors
     * @param totals per second, of rows of {@code /proc/interrupts} without a number
     * @param cpus host irqs per second, by CPU
     * @param scan the last look, if it is another than that of the tick before
     */
    public record Tick(
            double seconds,
            List<Row> rows,
            List<Event> events,
            Map<String, Double> totals,
            Map<Integer, Double> cpus,
            Optional<HostScan> scan) {}

    /** A vector that VFIO has armed. The first one of a device has its power state. */
    private record Vector(
            InterruptPath path,
            int irq,
            List<Stages.Stage> stages,
            String flaw,
            Optional<Value> affinity,
            Optional<Value> power) {}

    /** A file in which a change is a reason to look, and the power state of its device. */
    private record Sign(Value value, Optional<Value> power) {}

    /** A small file that stays open, and its bytes. */
    private static final class Value {
        private final HostFiles.Kept file;
        private final UnaryOperator<String> part;
        private ByteBuffer now = ByteBuffer.allocate(VALUE_BYTES);
        private ByteBuffer then = ByteBuffer.allocate(VALUE_BYTES).limit(0);
        /** Whether the file is that of an irq, a device or a process that went. Another one may have its name. */
        private boolean gone;

        Value(HostFiles.Kept file, UnaryOperator<String> part) {
            this.file = file;
            this.part = part;
        }

        private String text(ByteBuffer bytes) {
            String all = StandardCharsets.ISO_8859_1
                    .decode(bytes.slice(0, bytes.limit()))
                    .toString();
            return part.apply(all).strip();
        }

        /** The part before and now, if it is another. A file that cannot be read any more did not change. */
        Optional<String[]> change() {
            gone = file.read(now.clear(), 0) <= 0;
            if (gone || now.flip().equals(then)) {
                return Optional.empty();
            }
            String[] change = {text(then), text(now)};
            ByteBuffer spare = then;
            then = now;
            now = spare;
            return change[0].isEmpty() || change[0].equals(change[1]) ? Optional.empty() : Optional.of(change);
        }

        /** Whether the part is a text now; a change is seen afterwards as before. */
        boolean reads(String text) {
            return file.read(now.clear(), 0) > 0 && text(now.flip()).equals(text);
        }
    }

    private final HostFiles files;
    private final LongSupplier nanos;
    private final Executor executor;
    private final Predicate<VmProcess> guests;
    private final Predicate<InterruptPath> paths;
    private final InterruptTicks irqs;
    private final KernelPaths memory;
    private final Function<HostFacts, Optional<Stages.Counted>> probes;
    /** The counts of the looks that were not taken yet. */
    private final List<Stages.Counted> counted = new ArrayList<>();
    /** The stages of armed vectors, by path. */
    private final Map<String, Stages> passed = new HashMap<>();
    /** The memory that looks read. */
    private KernelPaths seen = KernelPaths.none();

    private final List<Event> events = new ArrayList<>();
    private final Map<String, Deque<Double>> histories = new HashMap<>();
    /** The changed cells of host irqs, and for how many ticks they are still marked. */
    private final Map<Integer, Map<String, Integer>> marks = new HashMap<>();

    private final Map<String, Value> values = new HashMap<>();
    private final Set<Integer> storms = new HashSet<>();
    /** Counters of KVM by VM: exits, and injected interrupts. */
    private Map<String, long[]> counters = new HashMap<>();

    private Map<String, long[]> grown = Map.of();
    /** Flaws and posting that were told, by path; and others that one look has shown. */
    private final Map<String, Told> reported = new LinkedHashMap<>();

    private final Map<String, Told> waiting = new HashMap<>();
    /** A look, or nothing if kernel memory shows no reason for one. */
    private Optional<CompletableFuture<Optional<HostScan>>> looking = Optional.empty();

    private HostScan scan;
    private final List<Vector> vectors = new ArrayList<>();
    private final List<Sign> signs = new ArrayList<>();
    /** The inhibits of AVIC in a guest, the fault of its VMM, or the worst of its vectors, by its process. */
    private final Map<Integer, String> wrong = new HashMap<>();

    private long last;
    private long looked;
    private long took;
    private long asked;
    private long asking;
    private int ticks;
    /** Whether files changed since the look began that was taken last. */
    private volatile boolean moved;

    private boolean torn;
    /** Whether the next look that is taken is the first one that reads kernel memory. */
    private boolean opened;
    /** Whether looks read it. */
    private boolean readsMemory;

    /** A fact about a path: what it is compared by, and how it is reported. */
    private record Told(String kind, String id, String text, InterruptPath path) {
        boolean isDoubt() {
            return id.startsWith(Link.State.DOUBTFUL.label());
        }
    }

    /**
     * Begins to watch, with a look.
     *
     * @param nanos a clock that never goes back
     * @param executor takes the looks
     * @param guests the guests that are watched
     * @param paths the paths that are watched, of these guests
     * @param memory of the host's kernel, closed at the end
     * @param probes the counts of probes since it was asked last, if there are any
     */
    public Watcher(
            HostFiles files,
            LongSupplier nanos,
            Executor executor,
            Predicate<VmProcess> guests,
            Predicate<InterruptPath> paths,
            KernelPaths memory,
            Function<HostFacts, Optional<Stages.Counted>> probes) {
        this.files = files;
        this.nanos = nanos;
        this.executor = executor;
        this.guests = guests;
        this.paths = paths;
        this.memory = memory;
        this.probes = probes;
        this.irqs = new InterruptTicks(files);
        this.scan = scan();
        // The first screen does not wait until the memory is open.
        this.took = 0;
    }

    private HostScan scan() {
        long begin = nanos.getAsLong();
        HostFacts host = new HostFacts(files);
        HostScan scan = HostScan.run(host, seen);
        probes.apply(host).ifPresent(counted::add);
        looked = nanos.getAsLong();
        took = looked - begin;
        return scan;
    }

    /** A look, if kernel memory shows that a vector has another way. */
    private Optional<HostScan> lookIfChanged() {
        long begin = nanos.getAsLong();
        boolean changed = memory.changed();
        asked = nanos.getAsLong();
        asking = asked - begin;
        return changed ? lookAgain() : Optional.empty();
    }

    private Optional<HostScan> lookAgain() {
        if (!readsMemory) {
            // The types of KVM's module are read with the first irqfds.
            readsMemory = memory.irqfds().known().isPresent();
            opened = readsMemory || seen != memory && memory.inhibits().known().isPresent();
            seen = memory;
        }
        HostScan scan;
        int rounds = 0;
        do {
            moved = false;
            memory.forget();
            scan = scan();
        } while (moved && ++rounds < MOST_LOOK_ROUNDS);
        return Optional.of(scan);
    }

    /** Reads the counters, and takes a look when it is time. */
    public Tick tick() {
        events.clear();
        long now = nanos.getAsLong();
        double seconds = ticks == 0 ? 0 : Math.max(1, now - last) / (double) TimeUnit.SECONDS.toNanos(1);
        last = now;
        marks.values().removeIf(cells -> {
            cells.replaceAll((cell, left) -> left - 1);
            cells.values().removeIf(left -> left <= 0);
            return cells.isEmpty();
        });
        boolean sameRows = irqs.read();
        boolean sameVms = readCounters();
        if (readSigns() || !sameRows || !sameVms) {
            moved = true;
        }
        if (ticks == 0) {
            take(scan, true);
        }
        Optional<HostScan> before = ticks == 0 ? Optional.of(scan) : taken();
        boolean due = moved || now - looked >= took * LOOK_TIMES_BETWEEN_LOOKS;
        if (looking.isEmpty() && (due || readsMemory && now - asked >= asking * LOOK_TIMES_BETWEEN_LOOKS)) {
            looking = Optional.of(CompletableFuture.supplyAsync(due ? this::lookAgain : this::lookIfChanged, executor));
        }
        Optional<HostScan> taken = ticks == 0 ? before : taken().or(() -> before);
        vectors.forEach(this::state);
        List<Row> rows = rows(seconds);
        Map<String, Double> totals = new TreeMap<>();
        scan.counters().keySet().forEach(name -> totals.put(name, rate(irqs.grew(name), seconds)));
        Map<Integer, Double> cpus = new TreeMap<>();
        irqs.grewByCpu().forEach((cpu, more) -> cpus.put(cpu, rate(more, seconds)));
        ticks++;
        return new Tick(seconds, rows, List.copyOf(events), totals, cpus, taken);
    }

    /** The look that a thread has taken since the last tick. If files changed meanwhile, it may tell of two moments. */
    private Optional<HostScan> taken() {
        if (looking.filter(CompletableFuture::isDone).isEmpty()) {
            return Optional.empty();
        }
        CompletableFuture<Optional<HostScan>> done = looking.get();
        looking = Optional.empty();
        Optional<HostScan> taken = done.join();
        taken.ifPresent(now -> {
            torn = moved;
            take(now, false);
        });
        return taken;
    }

    /** Negative before the end of the first interval. */
    private static double rate(long more, double seconds) {
        return seconds > 0 ? more / seconds : -1;
    }

    private void tell(String what, InterruptPath of, String text) {
        events.add(new Event(what, name(of), of.device(), of.name(), text));
    }

    private static String name(InterruptPath path) {
        return path.guest().map(InterruptPath.Guest::name).orElse("");
    }

    /** The guest's process; 0 without a guest. */
    private static int pid(InterruptPath path) {
        return path.guest().map(InterruptPath.Guest::process).orElse(0);
    }

    private static List<HostIrq> irqs(InterruptPath path) {
        return path.link(Hop.HOST_IRQ).map(link -> link.numbers(Hop.HOST_IRQ)).orElse(List.of());
    }

    private void mark(int irq, String cell) {
        marks.computeIfAbsent(irq, same -> new HashMap<>()).put(cell, MARKED_TICKS);
    }

    // KVM's counters

    /** Returns whether the VMs are those of the tick before. */
    private boolean readCounters() {
        Map<String, long[]> now = new HashMap<>();
        Map<String, long[]> more = new HashMap<>();
        for (String name : files.list(VmProcess.DEBUGFS)) {
            if (name.indexOf('-') > 0 && Character.isDigit(name.charAt(0))) {
                long[] read = {number(name + "/exits"), number(name + "/irq_injections")};
                long[] before = counters.getOrDefault(name, read);
                now.put(name, read);
                more.put(name, new long[] {more(before[0], read[0]), more(before[1], read[1])});
            }
        }
        boolean same = now.keySet().equals(counters.keySet());
        counters = now;
        grown = more;
        return same;
    }

    /** Negative if one of them is. A counter that goes back was reset. */
    private static long more(long before, long now) {
        return before < 0 || now < 0 ? -1 : Math.max(0, now - before);
    }

    /** Negative if the file shows none. */
    private long number(String file) {
        Optional<byte[]> bytes = files.bytes(VmProcess.DEBUGFS + file, VALUE_BYTES);
        long value = bytes.isPresent() ? 0 : -1;
        for (byte digit : bytes.orElse(new byte[0])) {
            value = digit >= '0' && digit <= '9' ? value * 10 + digit - '0' : value;
        }
        return value;
    }

    // Looks

    private void take(HostScan now, boolean first) {
        Map<Integer, String> then = names(scan);
        Map<Integer, String> names = names(now);
        if (!first) {
            tellOthers(names, then, "came", " has a VM open");
            tellOthers(then, names, "gone", " no longer has a VM open");
        }
        scan = now;
        vectors.clear();
        signs.clear();
        wrong.clear();
        Set<String> used = new HashSet<>();
        Set<String> devices = new HashSet<>();
        Set<String> armed = new HashSet<>();
        Map<String, Told> facts = new LinkedHashMap<>();
        for (InterruptPath path : now.paths()) {
            int pid = pid(path);
            if ((pid == 0 || names.containsKey(pid)) && paths.test(path)) {
                facts(path, facts);
                if (path.interrupt().isEmpty()) {
                    flaw(path).ifPresent(link -> wrong.put(pid, HostScan.text(link)));
                }
                List<HostIrq> numbers = irqs(path);
                if (HostScan.isArmed(path) && !numbers.isEmpty()) {
                    int irq = numbers.get(0).number();
                    String files = "sys/bus/pci/devices/" + path.device();
                    armed.add(key(path));
                    counted.stream()
                            .flatMap(counted -> Stages.count(counted, irq).stream())
                            .forEach(more -> passed.merge(key(path), more, Stages::then));
                    Optional<Stages> stages = Optional.ofNullable(passed.get(key(path)));
                    stages.flatMap(Stages::loses)
                            .ifPresent(text -> add(
                                    facts, "loses", String.valueOf(stages.get().at()), text, path));
                    boolean another = devices.add(path.device());
                    Optional<Value> power =
                            another ? value(files + "/power_state", "", all -> all, used) : Optional.empty();
                    if (another) {
                        value(files + "/config", "", Watcher::withoutStatus, used)
                                .ifPresent(config -> signs.add(new Sign(config, power)));
                    }
                    vectors.add(new Vector(
                            path,
                            irq,
                            stages.map(Stages::stages).orElse(List.of()),
                            flaw(path).map(HostScan::text).or(path::whyNot).orElse(""),
                            value("proc/irq/" + irq + "/effective_affinity_list", key(path), all -> all, used),
                            power));
                }
            }
        }
        counted.clear();
        passed.keySet().retainAll(armed);
        storms.retainAll(vectors.stream().map(Vector::irq).toList());
        for (HostScan.Seen guest : now.guests()) {
            VmProcess process = guest.guest().process();
            value("proc/" + process.pid() + "/stat", "", Watcher::stopped, used)
                    .ifPresent(stat -> signs.add(new Sign(stat, Optional.empty())));
            for (String reason : guests.test(process) ? guest.inhibits() : List.<String>of()) {
                wrong.put(process.pid(), reason + " inhibits AVIC");
                InterruptPath of = new InterruptPath(
                        Flaw.Subject.GUEST,
                        Optional.empty(),
                        Optional.of(process.asGuest()),
                        List.of(),
                        List.of(),
                        List.of(),
                        List.of());
                facts.put("inhibited " + reason + key(of), new Told("inhibited", "yes", reason + " inhibits AVIC", of));
            }
        }
        vectors.stream()
                .collect(Collectors.groupingBy(vector -> pid(vector.path())))
                .forEach((pid, all) -> {
                    List<Link> flaws = all.stream()
                            .flatMap(vector -> flaw(vector.path()).stream())
                            .toList();
                    flaws.stream().min(Comparator.comparing(Link::state)).ifPresent(worst -> {
                        long same = flaws.stream()
                                .filter(flaw -> flaw.state() == worst.state())
                                .count();
                        if (worst.state() == Link.State.BROKEN || !wrong.containsKey(pid)) {
                            wrong.put(pid, same + " of " + all.size() + " vectors: " + HostScan.text(worst));
                        }
                    });
                });
        values.entrySet().stream()
                .filter(entry -> !used.contains(entry.getKey()))
                .forEach(entry -> entry.getValue().file.close());
        values.keySet().retainAll(used);
        if (first) {
            reported.putAll(facts);
            return;
        }
        Set<String> keys = new LinkedHashSet<>(facts.keySet());
        keys.addAll(reported.keySet());
        for (String key : keys) {
            compare(key, Optional.ofNullable(reported.get(key)), Optional.ofNullable(facts.get(key)), names, armed);
        }
        waiting.keySet().retainAll(keys);
        opened = false;
    }

    /** Tells of the guests that are only in one of two looks. */
    private void tellOthers(Map<Integer, String> in, Map<Integer, String> notIn, String what, String text) {
        in.forEach((pid, name) -> {
            if (!notIn.containsKey(pid)) {
                events.add(new Event(what, name, "", "", "process " + pid + text));
            }
        });
    }

    private Map<Integer, String> names(HostScan of) {
        Map<Integer, String> names = new TreeMap<>();
        for (HostScan.Seen guest : of.guests()) {
            if (guests.test(guest.guest().process())) {
                names.put(guest.guest().process().pid(), guest.guest().process().name());
            }
        }
        return names;
    }

    private static String key(InterruptPath path) {
        String who = path.subject() == Flaw.Subject.HELPER ? " helper" : "";
        return " " + path.guest() + who + " " + path.device() + " " + path.name();
    }

    private static void add(Map<String, Told> to, String kind, String id, String text, InterruptPath path) {
        to.put(kind + key(path), new Told(kind, id, text, path));
    }

    /** A guest that exits is not paused, though its vCPUs wait for another thread at the moment of a look. */
    private Optional<Link> flaw(InterruptPath path) {
        String own = pid(path) + "-";
        return HostScan.flaw(path)
                .filter(link -> link.flaws().stream().noneMatch(flaw -> List.of("vmm.paused", "vmm.incoming")
                                .contains(flaw.rule()))
                        || grown.entrySet().stream()
                                .noneMatch(vm -> vm.getKey().startsWith(own) && vm.getValue()[0] > 0));
    }

    private void facts(InterruptPath path, Map<String, Told> to) {
        boolean inMemory =
                path.link(Hop.EVENTFD).filter(link -> link.value().isPresent()).isPresent();
        for (Hop<?> hop : inMemory ? REWIRED : List.<Hop<?>>of()) {
            path.link(hop)
                    .filter(link -> link.value().isPresent() || NO_IRQFD.contains(link.text()))
                    .map(link -> link.value().map(value -> value + ": ").orElse("") + link.text())
                    .ifPresent(text -> add(to, hop.label(), text, text, path));
        }
        flaw(path).ifPresent(link -> {
            String id = link.state().label() + " " + link.hop()
                    + link.flaws().stream().map(Flaw::rule).toList();
            add(to, "flaw", id, HostScan.text(link), path);
        });
        if (HostScan.isArmed(path)) {
            add(to, "armed", "yes", "VFIO has armed it", path);
            path.posted().ifPresent(posted -> {
                String text = posted
                        ? "hardware posts it"
                        : "not posted: " + path.whyNot().orElse("");
                add(to, "posted", posted.toString(), text, path);
            });
        }
    }

    /** A doubt may come and go with the moment of a look, as all may that a torn one shows: two looks in turn must show it. */
    private void compare(
            String key, Optional<Told> before, Optional<Told> now, Map<Integer, String> names, Set<String> armed) {
        if (before.map(Told::id).equals(now.map(Told::id))) {
            waiting.remove(key);
            return;
        }
        Told of = now.or(() -> before).orElseThrow();
        boolean isArmed = armed.contains(key(of.path()));
        boolean isRewired = REWIRED.stream().anyMatch(hop -> of.kind().equals(hop.label()));
        if (isRewired && now.isEmpty() && isArmed) {
            return; // Memory that was torn in this look shows no way.
        }
        // Kernel memory shows more than the look before, which had not opened it.
        boolean isFirst = opened && !List.of("armed", "loses").contains(of.kind());
        if (!isFirst
                && (before.or(() -> now).filter(Told::isDoubt).isPresent()
                        || of.isDoubt()
                        || of.kind().equals("posted") && now.isEmpty()
                        || torn && !of.kind().equals("armed"))) {
            Told gone = new Told(of.kind(), "", "", of.path());
            Told seen = waiting.put(key, now.orElse(gone));
            if (seen == null || !seen.id().equals(now.orElse(gone).id())) {
                return;
            }
        }
        waiting.remove(key);
        now.ifPresentOrElse(fact -> reported.put(key, fact), () -> reported.remove(key));
        boolean isDisarmed = now.isEmpty() && List.of("posted", "loses").contains(of.kind()) && !isArmed;
        if (isFirst || isDisarmed || isRewired && (before.isEmpty() || now.isEmpty())) {
            return; // A vector that is armed or disarmed gets or loses its way.
        }
        int pid = pid(of.path());
        // The end of a VM is told once, and so is its begin.
        if (pid == 0 || names.containsKey(pid)) {
            String text = now.map(Told::text)
                    .orElse(
                            switch (of.kind()) {
                                case "armed" -> "VFIO has disarmed it";
                                case "flaw", "loses" -> "repaired: " + of.text();
                                case "inhibited" -> "cleared: " + of.text();
                                default -> "no longer known: " + of.text();
                            });
            tell(of.kind(), of.path(), text);
            irqs(of.path()).forEach(irq -> mark(irq.number(), of.kind()));
        }
    }

    // State of vectors

    /** A file that stays open while looks use it for the same vector. */
    private Optional<Value> value(String path, String vector, UnaryOperator<String> part, Set<String> used) {
        String key = path + vector;
        used.add(key);
        if (values.containsKey(key) && values.get(key).gone) {
            values.remove(key).file.close();
        }
        if (!values.containsKey(key)) {
            files.keep(path).ifPresent(file -> values.put(key, new Value(file, part)));
        }
        return Optional.ofNullable(values.get(key));
    }

    /** Whether the configuration of a device changed, or a signal stopped a VMM or let it go on. */
    private boolean readSigns() {
        boolean changed = false;
        for (Sign sign : signs) {
            // A read would wake the device.
            boolean sleeps = sign.power.filter(power -> power.reads("D3cold")).isPresent();
            changed |= !sleeps && sign.value.change().isPresent();
        }
        return changed;
    }

    private static String stopped(String stat) {
        int state = stat.lastIndexOf(')') + 2;
        return state < stat.length() && "TtZ".indexOf(stat.charAt(state)) >= 0 ? "stopped" : "runs";
    }

    /** Status bits, such as Transactions Pending of PCI Express, change all the time. */
    private static String withoutStatus(String config) {
        int express = PciCapabilities.parse(config.getBytes(StandardCharsets.ISO_8859_1))
                .capability(EXPRESS);
        StringBuilder text = new StringBuilder(config);
        IntStream.concat(IntStream.of(STATUS), Arrays.stream(EXPRESS_STATUS).map(at -> express == 0 ? 0 : express + at))
                .filter(at -> at > 0 && at + 2 <= config.length())
                .forEach(at -> text.replace(at, at + 2, "  "));
        return text.toString();
    }

    private void state(Vector vector) {
        InterruptPath path = vector.path();
        vector.affinity().flatMap(Value::change).ifPresent(text -> {
            tell("affinity", path, "host irq " + vector.irq() + " moved from CPU " + text[0] + " to CPU " + text[1]);
            mark(vector.irq(), "cpu");
        });
        vector.power()
                .flatMap(Value::change)
                .ifPresent(text -> events.add(
                        new Event("power", name(path), path.device(), "", "from " + text[0] + " to " + text[1])));
    }

    // Rows

    private List<Row> rows(double seconds) {
        Map<Integer, List<Row>> byGuest = new TreeMap<>();
        Set<String> used = new HashSet<>();
        for (Vector vector : vectors) {
            String name = String.valueOf(vector.irq());
            double rate = rate(irqs.grew(name), seconds);
            if (!irqs.beginsAgain()) {
                storm(vector, rate);
            }
            byGuest.computeIfAbsent(pid(vector.path()), pid -> new ArrayList<>())
                    .add(new Row(
                            name(vector.path()),
                            pid(vector.path()),
                            vector.path().device(),
                            vector.path().name(),
                            vector.irq(),
                            rate,
                            -1,
                            -1,
                            irqs.busiest(name),
                            vector.path()
                                    .posted()
                                    .map(yes -> yes ? "yes" : "no")
                                    .orElse(""),
                            vector.stages(),
                            vector.flaw(),
                            Set.copyOf(
                                    marks.getOrDefault(vector.irq(), Map.of()).keySet()),
                            history(key(vector.path()), rate, used)));
        }
        List<Row> all = new ArrayList<>();
        for (HostScan.Seen seen : scan.guests()) {
            VmProcess process = seen.guest().process();
            if (guests.test(process)) {
                List<Row> own = byGuest.getOrDefault(process.pid(), List.of());
                byGuest.remove(process.pid());
                all.add(guest(seen, own, seconds, used));
                all.addAll(own);
            }
        }
        byGuest.values().forEach(all::addAll);
        histories.keySet().retainAll(used);
        return all;
    }

    private Row guest(HostScan.Seen seen, List<Row> own, double seconds, Set<String> used) {
        VmProcess process = seen.guest().process();
        long[] more = {0, 0};
        for (String directory : seen.directories()) {
            long[] sums = grown.getOrDefault(directory, new long[2]);
            more[0] = Math.min(more[0], sums[0]) < 0 ? -1 : more[0] + sums[0];
            more[1] = Math.min(more[1], sums[1]) < 0 ? -1 : more[1] + sums[1];
        }
        double rate = seconds > 0 ? own.stream().mapToDouble(Row::rate).sum() : -1;
        boolean shown = !seen.directories().isEmpty();
        double injected = shown && more[1] >= 0 ? rate(more[1], seconds) : -1;
        long posted = own.stream().filter(row -> row.posted().equals("yes")).count();
        return new Row(
                process.name(),
                process.pid(),
                "",
                "",
                -1,
                rate,
                injected,
                shown && more[0] >= 0 ? rate(more[0], seconds) : -1,
                own.stream()
                        .max(Comparator.comparingDouble(Row::rate))
                        .map(Row::cpu)
                        .orElse(-1),
                own.isEmpty() ? "" : posted + "/" + own.size(),
                List.of(),
                wrong.getOrDefault(process.pid(), ""),
                Set.of(),
                history("guest " + process.pid(), rate + Math.max(0, injected), used));
    }

    private Deque<Double> history(String key, double rate, Set<String> used) {
        used.add(key);
        Deque<Double> history = histories.computeIfAbsent(key, same -> new ArrayDeque<>());
        if (ticks > 0) {
            history.add(rate);
        }
        if (history.size() > RATES_KEPT) {
            history.remove();
        }
        return new ArrayDeque<>(history);
    }

    private void storm(Vector vector, double rate) {
        if (rate >= HostIrqRules.STORM_RATE
                ? storms.add(vector.irq())
                : rate < HostIrqRules.STORM_RATE / 2.0 && storms.remove(vector.irq())) {
            String comes = rate >= HostIrqRules.STORM_RATE ? " fires " : " now fires only ";
            tell("storm", vector.path(), "host irq " + vector.irq() + comes + Math.round(rate) + " times per second");
        }
    }

    /** Whether the files show the host's irqs. */
    public boolean seesInterrupts() {
        return !irqs.names().isEmpty();
    }

    @Override
    public void close() {
        irqs.close();
        memory.close();
        values.values().forEach(value -> value.file.close());
        values.clear();
    }
}
