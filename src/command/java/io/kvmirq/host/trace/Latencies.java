/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.trace.ProbeCounts.Latency;
import io.kvmirq.host.trace.ProbeCounts.Stage;
import io.kvmirq.host.trace.ProbePlan.Trigger;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Times between two probes, measured in the kernel: the first stores its time in a variable, the second subtracts it and
 * gives the difference to a synthetic event, whose histograms have its power of two and the longest. The clock is
 * {@code mono}, which is the same on all CPUs and does not change when the time of day is set. The kernel clears a
 * variable when it is read, so a time is used once. A signal in the handler of an interrupt is that of the last call of
 * VFIO's handler with its eventfd. Immutable.
 *
 * <p>Source: {@code resolve_var_refs()} and {@code hist_field_log2()} in kernel/trace/trace_events_hist.c;
 * Documentation/trace/histogram.rst.
 */
final class Latencies {
    /** The kernel accepts a trigger of at most one page. */
    private static final int MOST_THREADS = 100;

    private static final String TO = "_to_";
    /**
     * Leaves out a negative time, which is a large u64. If an interrupt comes while KVM injects a vector, the signal may
     * set the variable anew before the injection subtracts it.
     */
    private static final String POSITIVE = " if ns < 1000000000000000000";

    private static final String POWERS = "id,ns.log2";
    private static final String LONGEST = "id";

    /** A time: the events with their keys, and conditions. */
    private record Span(Stage stage, String from, String key, String begins, String to, String match, String ends) {}

    private final String name;
    private final List<Span> spans = new ArrayList<>();

    /**
     * The times that a kernel can measure.
     *
     * @param injected the event where KVM injects a vector, and its fields; without them that time is not measured
     * @param threads of the guests: other guests use the same vectors
     */
    Latencies(ProbePlan plan, Injected injected, Collection<Integer> threads) {
        this.name = plan.name();
        String wakeup = ProbePlan.WAKEUP;
        String signalled = ProbePlan.SIGNALLED;
        if (injected.isThere() && !threads.isEmpty() && threads.size() <= MOST_THREADS) {
            spans.add(new Span(
                    Stage.TAKEN,
                    wakeup,
                    "vector",
                    signalled + " && type == 2 && (" + any("pid", threads) + ")",
                    ProbePlan.INJECTED,
                    injected.vector(),
                    injected.condition().isEmpty()
                            ? " if " + any(ProbePlan.THREAD, threads)
                            : injected.condition() + " && (" + any(ProbePlan.THREAD, threads) + ")"));
        }
        spans.add(new Span(
                Stage.DELIVERED,
                wakeup,
                ProbePlan.CPU,
                signalled,
                event(ProbePlan.DELIVERED),
                ProbePlan.CPU,
                " if ret >= 0"));
        if (plan.hostIrq().known().isPresent()) {
            spans.add(new Span(
                    Stage.IRQFD,
                    ProbePlan.HOST_IRQ,
                    ProbePlan.EVENTFD,
                    "",
                    event(wakeup),
                    ProbePlan.EVENTFD,
                    signalled + ProbePlan.IN_HANDLERS));
        }
    }

    private static String any(String field, Collection<Integer> numbers) {
        return numbers.stream().sorted().map(number -> field + " == " + number).collect(Collectors.joining(" || "));
    }

    private String event(String probe) {
        return ProbePlan.GROUP + "/" + name + probe;
    }

    private String synthetic(Span span) {
        return name + TO + label(span);
    }

    private static String label(Span span) {
        return span.stage().name().toLowerCase(Locale.ROOT);
    }

    /** The synthetic events, as {@code synthetic_events} takes them. */
    List<String> synthetics() {
        return spans.stream().map(span -> synthetic(span) + " s32 id; u64 ns").toList();
    }

    /** The triggers, in an order that the kernel takes: a variable before its use. */
    List<Trigger> triggers() {
        List<Trigger> triggers = new ArrayList<>();
        for (Span span : spans) {
            String synthetic = synthetic(span);
            String n = "_" + label(span);
            triggers.add(new Trigger("synthetic/" + synthetic, "hist:keys=" + POWERS + POSITIVE));
            triggers.add(new Trigger(
                    "synthetic/" + synthetic, "hist:keys=" + LONGEST + ":m=ns:onmax($m).save(ns)" + POSITIVE));
            triggers.add(new Trigger(
                    event(span.from()),
                    "hist:keys=" + span.key() + ":t" + n + "=common_timestamp,i" + n + "=id:clock=mono"
                            + span.begins()));
            triggers.add(new Trigger(
                    span.to(),
                    "hist:keys=" + span.match() + ":l" + n + "=common_timestamp-$t" + n + ":onmatch("
                            + ProbePlan.GROUP + "." + name + span.from() + ").trace(" + synthetic + ",$i" + n + ",$l"
                            + n + "):clock=mono" + span.ends()));
        }
        return triggers;
    }

    /** Reads the histograms of an event. */
    interface Reader {
        String histograms(String event) throws IOException;
    }

    /** The number of times that a full histogram dropped. */
    long dropped(Reader reader) throws IOException {
        long dropped = 0;
        for (Span span : spans) {
            dropped += Histogram.dropped(reader.histograms("synthetic/" + synthetic(span)), POWERS);
        }
        return dropped;
    }

    List<Latency> read(Reader reader) throws IOException {
        List<Latency> latencies = new ArrayList<>();
        for (Span span : spans) {
            String text = reader.histograms("synthetic/" + synthetic(span));
            for (Histogram.Row row : Histogram.of(text, LONGEST)) {
                SortedMap<Integer, Long> powers = new TreeMap<>();
                Histogram.of(text, POWERS).stream()
                        .filter(power -> power.key("id") == row.key("id"))
                        .forEach(power -> powers.put((int) power.key("ns"), power.count()));
                latencies.add(new Latency(span.stage(), (int) row.key("id"), powers, row.max()));
            }
        }
        return latencies;
    }
}
