/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.facts.TracingInstances;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The probes of this process, and the histograms in which the kernel counts their hits. Probes and synthetic events are
 * global in tracefs and begin with the name of this process. Histograms belong to an instance of its own, so the
 * tracing of others does not change, and no record is written for an interrupt. {@link #close} removes all; {@link
 * #removeLeft} removes those of a killed process. For one thread; {@link #close} may come from any.
 *
 * <p>Order: probes, instance, synthetic events, triggers. They are removed in reverse, because the kernel keeps a probe or an
 * event while a trigger uses it.
 */
public final class Probes implements AutoCloseable {
    private static final String PROFILE = "kprobe_profile";
    private final TraceFiles files;
    private final ProbeFiles own;
    private final ProbePlan plan;
    private final List<String> missing = new ArrayList<>();
    private final Injected injected;
    private final Latencies latencies;
    /** The files of the last {@link #readMore}. */
    private Map<String, String> before = Map.of();

    private boolean closed;
    private boolean isTimed;

    private Probes(TraceFiles files, ProbePlan plan, Set<Integer> threads) {
        this.files = files;
        this.plan = plan;
        this.own = new ProbeFiles(files, plan.name());
        this.injected = Injected.read(files);
        this.latencies = new Latencies(plan, injected, threads);
        if (plan.hostIrq() instanceof Known.Unknown<String> none) {
            missing.add(none.why());
        } else if (plan.intx() instanceof Known.Unknown<String> none) {
            missing.add("INTx is not counted: " + none.why());
        }
    }

    /**
     * Begins to count on this machine.
     *
     * @param tracefs where tracefs is mounted
     * @param kvm the types of KVM
     * @param vfio the types of {@code vfio_pci_core}; without them VFIO's handlers are not counted
     * @param threads those of the guests, for the time until a vCPU takes a vector
     * @return the probes, or the first thing that this kernel does not have or refuses; then nothing is left
     */
    public static Known<Probes> set(Path tracefs, Known<Btf> kvm, Known<Btf> vfio, Set<Integer> threads) {
        return TracingInstances.ownName()
                .map(name -> set(TraceFiles.at(tracefs), name, kvm, vfio, threads))
                .orElseGet(() -> new Known.Unknown<>("/proc/self cannot be read", "mount /proc"));
    }

    /** @param instance the name of this process in tracefs */
    static Known<Probes> set(TraceFiles files, String instance, Known<Btf> kvm, Known<Btf> vfio, Set<Integer> threads) {
        return ProbePlan.plan(instance.replace('-', '_'), kvm, vfio).then(plan -> {
            Probes probes = new Probes(files, plan, threads);
            Known<Probes> begun = probes.begin();
            if (begun.known().isEmpty()) {
                probes.close();
            }
            return begun;
        });
    }

    /** Removes what killed processes of this machine left, a sentence for each, without a full stop. */
    public static List<String> removeLeft(Path tracefs) {
        return ProbeFiles.removeLeft(TraceFiles.at(tracefs), TracingInstances::isLeft);
    }

    /** @param what its subject, for a refusal */
    private record Step(String what, ProbeFiles.Operation operation) {}

    private Known<Probes> begin() {
        for (Map.Entry<String, String> file : List.of(
                Map.entry(ProbeFiles.PROBES, "KPROBE_EVENTS"), Map.entry(ProbeFiles.SYNTHETIC, "SYNTH_EVENTS"))) {
            if (!files.list("").contains(file.getKey())) {
                return new Known.Unknown<>(
                        "this kernel has no " + file.getKey() + " in tracefs",
                        "use a kernel with CONFIG_" + file.getValue());
            }
        }
        List<Step> steps = new ArrayList<>();
        plan.probes()
                .forEach(probe -> steps.add(new Step(
                        "the function " + probe.split(" ", 3)[1] + " cannot be probed",
                        () -> files.write(ProbeFiles.PROBES, probe))));
        String instance = own.instance();
        steps.add(new Step("cannot create " + instance, () -> files.create(instance)));
        plan.synthetics()
                .forEach(synthetic -> steps.add(new Step(
                        "cannot create a synthetic event", () -> files.write(ProbeFiles.SYNTHETIC, synthetic))));
        if (!injected.isThere()) {
            missing.add("this kernel has no tracepoint kvm:kvm_inj_virq, which shows the vectors that a vCPU takes");
        }
        if (!isAccepted() && plan.queued() instanceof Known.Unknown<String> none) {
            missing.add("vCPUs are not shown: " + none.why());
        }
        plan.triggers(injected, events()).forEach(trigger -> steps.add(step("the kernel does not count ", trigger)));
        Optional<String> refused = run(steps);
        if (refused.isPresent()) {
            return new Known.Unknown<>(refused.get(), TraceFiles.remedy(refused.get()));
        }
        List<Step> times = new ArrayList<>();
        latencies
                .synthetics()
                .forEach(synthetic -> times.add(new Step(
                        "cannot create a synthetic event", () -> files.write(ProbeFiles.SYNTHETIC, synthetic))));
        latencies.triggers().forEach(trigger -> times.add(step("the kernel does not measure ", trigger)));
        run(times).ifPresentOrElse(why -> missing.add("latency is not measured: " + why), () -> isTimed = true);
        return new Known.Observed<>(this);
    }

    private List<String> events() {
        return files.list("events/kvm").stream().map(name -> "kvm/" + name).toList();
    }

    private boolean isAccepted() {
        return events().contains(ProbePlan.ACCEPTED);
    }

    private Step step(String what, ProbePlan.Trigger trigger) {
        return new Step(
                what + trigger.event(), () -> files.write(own.file(trigger.event(), "trigger"), trigger.line()));
    }

    /** Runs steps until one is refused, which it returns. */
    private static Optional<String> run(List<Step> steps) {
        for (Step step : steps) {
            try {
                step.operation().run();
            } catch (IOException e) {
                return Optional.of(step.what() + ": " + ProbeFiles.refusal(e));
            }
        }
        return Optional.empty();
    }

    /** The counts until now, from the device to the vCPU: a later stage counts all that an earlier one counts. */
    public synchronized Known<ProbeCounts> read() {
        return read(files::read);
    }

    /**
     * The counts since the last call, or since the probes were set. The kernel gives the id of a closed eventfd to the next
     * one, and these counts do not join both. The longest times are those since the probes were set.
     */
    public synchronized Known<ProbeCounts> readMore() {
        Map<String, String> now = new HashMap<>();
        Known<ProbeCounts> counts = read(file -> {
            String text = now.containsKey(file) ? now.get(file) : files.read(file);
            now.put(file, text);
            return Histogram.since(before.getOrDefault(file, ""), text);
        });
        before = counts.known().isPresent() ? now : before;
        return counts;
    }

    private Known<ProbeCounts> read(Latencies.Reader from) {
        Latencies.Reader hist = event -> from.histograms(own.file(event, "hist"));
        if (closed) {
            return new Known.Unknown<>("the probes are removed", "none");
        }
        try {
            List<String> missing = new ArrayList<>(this.missing);
            String woken = ProbePlan.GROUP + "/" + plan.name() + ProbePlan.WAKEUP;
            String handlers = plan.hostIrq().known().isEmpty()
                    ? ""
                    : hist.histograms(ProbePlan.GROUP + "/" + plan.name() + ProbePlan.HOST_IRQ);
            String irqfds = hist.histograms(woken);
            String results = hist.histograms("synthetic/" + plan.name() + ProbePlan.SENT);
            String cpus = hist.histograms(ProbePlan.GROUP + "/" + plan.name() + ProbePlan.DELIVERED);
            String raised = hist.histograms("synthetic/" + plan.name() + ProbePlan.BY_WORKER);
            String workers = hist.histograms(ProbePlan.GROUP + "/" + plan.name() + ProbePlan.WORKER);
            String unrouted = hist.histograms("synthetic/" + plan.name() + ProbePlan.UNROUTED);
            String vcpus = isAccepted() || plan.queued().known().isPresent()
                    ? hist.histograms("synthetic/" + plan.name() + ProbePlan.TO_VCPU)
                    : "";
            long untimed = isTimed ? latencies.dropped(hist) : 0;
            if (untimed > 0) {
                missing.add("latencies leave out " + untimed + " times that did not fit into the kernel's histogram");
            }
            String taken = injected.isThere() ? hist.histograms(ProbePlan.INJECTED) : "";
            boolean isEnded = events().contains(ProbePlan.ENDED);
            String ended = isEnded ? hist.histograms(ProbePlan.ENDED) : "";
            long missed = Histogram.dropped(handlers, ProbePlan.HANDLERS)
                    + Histogram.dropped(irqfds, ProbePlan.IRQFDS, ProbePlan.VMS, ProbePlan.ROUTES, ProbePlan.MESSAGES)
                    + Histogram.dropped(results, ProbePlan.RESULTS)
                    + Histogram.dropped(cpus, ProbePlan.CPU)
                    + Histogram.dropped(raised, ProbePlan.RAISES)
                    + Histogram.dropped(unrouted, ProbePlan.EVENTFD)
                    + Histogram.dropped(workers, ProbePlan.EVENTFD)
                    + Histogram.dropped(taken, injected.keys())
                    + Histogram.dropped(ended, ProbePlan.ENDS)
                    + missedByProbes(from.histograms(PROFILE))
                    - missedByProbes(before.getOrDefault(PROFILE, ""));
            return new Known.Observed<>(new ProbeCounts(
                    Histogram.of(handlers, ProbePlan.HANDLERS).stream()
                            .map(row -> new ProbeCounts.Handler((int) row.key("irq"), (int) row.key("id"), row.count()))
                            .toList(),
                    irqfds(irqfds, results),
                    starved(irqfds),
                    Histogram.of(raised, ProbePlan.RAISES).stream()
                            .map(row -> new ProbeCounts.Raised((int) row.key("id"), (int) row.key("ret"), row.count()))
                            .toList(),
                    Histogram.of(workers, ProbePlan.EVENTFD).stream()
                            .map(row -> (int) row.key("id"))
                            .collect(Collectors.toSet()),
                    Histogram.of(unrouted, ProbePlan.EVENTFD).stream()
                            .map(row -> new ProbeCounts.Unrouted((int) row.key("id"), row.count()))
                            .toList(),
                    Histogram.of(vcpus, ProbePlan.VCPUS).stream()
                            .map(row -> new ProbeCounts.Accepted(
                                    (int) row.key("id"), (int) row.key("vcpu"), (int) row.key("vec"), row.count()))
                            .toList(),
                    vectors(taken, injected.keys(), injected.vector()),
                    injected.isThere(),
                    vectors(ended, ProbePlan.ENDS, "vector"),
                    isEnded,
                    Histogram.of(irqfds, ProbePlan.CALLERS).stream()
                            .map(row -> new ProbeCounts.Caller((int) row.key("id"), (int) row.key(ProbePlan.THREAD)))
                            .toList(),
                    isTimed ? latencies.read(hist) : List.of(),
                    missed,
                    missing));
        } catch (IOException e) {
            return new Known.Unknown<>(
                    "the counts of probes cannot be read: " + ProbeFiles.refusal(e),
                    TraceFiles.remedy(ProbeFiles.refusal(e)));
        }
    }

    private static List<ProbeCounts.Starved> starved(String woken) {
        Set<Long> functions = Histogram.of(woken, ProbePlan.FUNCTION).stream()
                .map(row -> row.key(ProbePlan.FUNCTION))
                .collect(Collectors.toSet());
        return Histogram.of(woken, ProbePlan.WAITERS).stream()
                .filter(row -> functions.contains(row.key("next")))
                .map(row -> new ProbeCounts.Starved((int) row.key("id"), (int) row.key("other")))
                .distinct()
                .toList();
    }

    private static List<ProbeCounts.Taken> vectors(String text, String keys, String vector) {
        return Histogram.of(text, keys).stream()
                .map(row -> new ProbeCounts.Taken((int) row.key(ProbePlan.THREAD), (int) row.key(vector), row.count()))
                .toList();
    }

    private static List<ProbeCounts.Irqfd> irqfds(String woken, String results) {
        return Histogram.of(woken, ProbePlan.IRQFDS).stream()
                .map(row -> new ProbeCounts.Irqfd(
                        (int) row.key("id"),
                        (int) row.key("gsi"),
                        Histogram.of(woken, ProbePlan.VMS).stream()
                                .filter(vm -> isSame(vm, row))
                                .map(vm -> (int) vm.key("pid"))
                                .findFirst()
                                .orElse(0),
                        row.count(),
                        counts(woken, ProbePlan.ROUTES, row, "type"),
                        Histogram.of(woken, ProbePlan.MESSAGES).stream()
                                .filter(message -> message.key("id") == row.key("id"))
                                .map(message -> new ProbeCounts.Message(message.key("address"), message.key("data")))
                                .collect(Collectors.toSet()),
                        counts(results, ProbePlan.RESULTS, row, "ret")))
                .toList();
    }

    private static boolean isSame(Histogram.Row row, Histogram.Row irqfd) {
        return row.key("id") == irqfd.key("id") && row.key("wait") == irqfd.key("wait");
    }

    private static Map<Integer, Long> counts(String text, String keys, Histogram.Row irqfd, String key) {
        return Histogram.of(text, keys).stream()
                .filter(row -> isSame(row, irqfd))
                .collect(Collectors.toMap(row -> (int) row.key(key), Histogram.Row::count, Long::sum));
    }

    /** The last column of {@code kprobe_profile}. */
    private long missedByProbes(String profile) {
        return profile.lines()
                .map(line -> line.strip().split(" +"))
                .filter(words ->
                        words.length == 3 && words[0].startsWith(plan.name() + "_") && words[2].matches("\\d{1,18}"))
                .mapToLong(words -> Long.parseLong(words[2]))
                .sum();
    }

    @Override
    public synchronized void close() {
        closed = true; // an open histogram would keep the instance
        own.removeAll();
    }
}
