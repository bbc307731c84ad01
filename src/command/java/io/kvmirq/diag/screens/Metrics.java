/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.diag.Severity;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.StringJoiner;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * A host's numbers in Prometheus' text format, for the textfile collector of its node exporter. A guest is named by its
 * name, so that its series continue after its VMM restarts; numbers of guests of one name are added. Vectors are
 * counted by guest and device. A single vector has series only while it has a flaw, and at most {@link #MOST_VECTORS}
 * vectors have.
 *
 * <p>Source: Prometheus, Exposition formats: text-based format, version 0.0.4; Metric and label naming.
 */
public final class Metrics {
    /** The most vectors with series of their own. */
    public static final int MOST_VECTORS = 64;

    private static final String PREFIX = "kvmirq_";
    private static final String GAUGE = "gauge";
    private static final String COUNTER = "counter";

    /** The count of each CPU wraps at 32 bits. Their sum modulo that does not fall at a wrap, which would be a reset. */
    private static final long BITS_32 = 0xffffffffL;

    private final StringBuilder text = new StringBuilder();

    private Metrics() {}

    /** The text, with a line end after each line. */
    public static String render(HostScan scan, String version) {
        Metrics metrics = new Metrics();
        metrics.host(scan, version);
        metrics.guests(scan);
        metrics.vectors(scan);
        metrics.flaws(scan);
        return metrics.text.toString();
    }

    /** The samples of a metric by their labels, in order. */
    private static final class Samples {
        private final TreeMap<String, Long> values = new TreeMap<>();
        private final List<String> labels;

        Samples(String... labels) {
            this.labels = List.of(labels);
        }

        /** @param of values of the labels; an empty one is as no label */
        void add(long value, String... of) {
            StringJoiner key = new StringJoiner(",", "{", "}").setEmptyValue("");
            for (int i = 0; i < of.length; i++) {
                if (!of[i].isEmpty()) {
                    key.add(labels.get(i) + "=\"" + escaped(of[i]) + '"');
                }
            }
            values.merge(key.toString(), value, Long::sum);
        }
    }

    /** Backslash, quote and line end have escapes; half a surrogate pair is no UTF-8. */
    private static String escaped(String value) {
        StringBuilder escaped = new StringBuilder();
        value.codePoints().forEach(c -> {
            switch (c) {
                case '\\' -> escaped.append("\\\\");
                case '"' -> escaped.append("\\\"");
                case '\n' -> escaped.append("\\n");
                default ->
                    escaped.appendCodePoint(c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE ? '?' : c);
            }
        });
        return escaped.toString();
    }

    /** Writes a metric; one without a sample has no lines. */
    private void write(String name, String type, String help, Samples samples) {
        if (samples.values.isEmpty()) {
            return;
        }
        text.append("# HELP " + PREFIX + name + ' ' + help + '\n');
        text.append("# TYPE " + PREFIX + name + ' ' + type + '\n');
        samples.values.forEach((labels, value) -> text.append(PREFIX + name + labels + ' ' + value + '\n'));
    }

    private void write(String name, String type, String help, long value) {
        Samples samples = new Samples();
        samples.add(value);
        write(name, type, help, samples);
    }

    private void host(HostScan scan, String version) {
        Samples info = new Samples("version", "kernel");
        info.add(1, version, scan.kernel().orElse(""));
        write("info", GAUGE, "Versions of kvmirq and of the host's kernel.", info);
        scan.posts()
                .ifPresent(posts ->
                        write("host_posts", GAUGE, "Whether the host can post interrupts to vCPUs.", posts ? 1 : 0));
        scan.vectorsLeft()
                .ifPresent(left -> write(
                        "cpu_vectors_free", GAUGE, "Free interrupt vectors of the CPU that has the fewest.", left));
        write(
                "unreadable_processes",
                GAUGE,
                "Processes whose files kvmirq cannot read, so guests may be missing.",
                scan.unreadable());
        write(
                "in_pid_namespace",
                GAUGE,
                "1 if a PID namespace hides the host's processes from kvmirq, so guests are missing.",
                scan.namespaced() ? 1 : 0);
        Samples rows = new Samples("row");
        scan.counters().forEach((row, count) -> rows.add(count & BITS_32, row));
        write("interrupts_total", COUNTER, "Interrupts in a row of /proc/interrupts, on all CPUs.", rows);
    }

    private void guests(HostScan scan) {
        Samples vcpus = new Samples("guest");
        Samples exits = new Samples("guest");
        Samples injected = new Samples("guest");
        Samples inhibited = new Samples("guest", "reason");
        for (HostScan.Seen guest : scan.guests()) {
            String name = guest.guest().process().name();
            vcpus.add(guest.guest().vcpus().all(), name);
            guest.guest().exits().ifPresent(count -> exits.add(count, name));
            guest.guest().injected().ifPresent(count -> injected.add(count, name));
            guest.inhibits().forEach(reason -> inhibited.add(1, name, reason));
        }
        write("guests", GAUGE, "Processes that have a VM open.", scan.guests().size());
        write("guest_vcpus", GAUGE, "vCPUs of a guest.", vcpus);
        write("guest_exits_total", COUNTER, "Exits of all of a guest's vCPUs.", exits);
        write("guest_injections_total", COUNTER, "Interrupts that KVM injected into a guest by software.", injected);
        write(
                "avic_inhibited",
                GAUGE,
                "Guests of this name in which AVIC is inhibited for this reason, so their interrupts are not posted.",
                inhibited);
    }

    private void vectors(HostScan scan) {
        Samples vectors = new Samples("guest", "device", "posted");
        Samples irqs = new Samples("guest", "device");
        Map<String, String> guests = new TreeMap<>();
        for (InterruptPath path : scan.paths()) {
            if (path.interrupt().isEmpty()) {
                continue;
            }
            guests.putIfAbsent(path.device(), guest(path));
            Optional<Boolean> posted = path.posted();
            for (String state : HostScan.isArmed(path) ? List.of("yes", "no", "unknown") : List.<String>of()) {
                boolean own = state.equals(posted.map(yes -> yes ? "yes" : "no").orElse("unknown"));
                vectors.add(own ? 1 : 0, guest(path), path.device(), state);
            }
        }
        scan.hostIrqs().forEach((device, count) -> {
            String name = device.toString();
            irqs.add(count & BITS_32, guests.getOrDefault(name, ""), name);
        });
        write("vectors", GAUGE, "Armed vectors of a guest's device, by whether hardware posts them.", vectors);
        write("host_irqs_total", COUNTER, "Interrupts of a guest's device that the host handled, on all CPUs.", irqs);
    }

    private static String worst(Link link, Function<Flaw, String> part) {
        return Severity.worst(link).map(part).orElse("");
    }

    private static String guest(InterruptPath path) {
        return path.guest().map(InterruptPath.Guest::name).orElse("");
    }

    /** The worst link of a path, or else one with a delay of the past. */
    private static Optional<Link> flaw(InterruptPath path) {
        return HostScan.flaw(path).or(() -> HostScan.slowed(path));
    }

    private void flaws(HostScan scan) {
        Samples counts = new Samples("state");
        Samples single = new Samples(
                "guest", "device", "vector", "hop", "state", "flaw", "subject", "weight", "span", "severity");
        Samples unposted = new Samples("guest", "device", "vector");
        for (Link.State state : List.of(Link.State.BROKEN, Link.State.DOUBTFUL)) {
            counts.add(
                    scan.paths().stream()
                            .flatMap(path -> HostScan.flaw(path).stream())
                            .filter(link -> link.state() == state)
                            .count(),
                    state.label());
        }
        // Broken ones first, then those in doubt, and then those that are only not posted.
        List<InterruptPath> flawed = scan.paths().stream()
                .filter(path -> flaw(path).isPresent() || path.unposted().isPresent())
                .sorted(Comparator.comparing(
                        path -> flaw(path).map(Severity::of).orElse(Severity.INFO)))
                .toList();
        for (InterruptPath path : flawed.subList(0, Math.min(MOST_VECTORS, flawed.size()))) {
            String vector = path.name();
            Optional<Link> worst = flaw(path);
            worst.ifPresent(link -> single.add(
                    1,
                    guest(path),
                    path.device(),
                    vector,
                    link.hop().label(),
                    link.state().label(),
                    worst(link, Flaw::rule),
                    worst(link, flaw -> flaw.subject().label()),
                    worst(link, flaw -> flaw.weight().label()),
                    worst(link, flaw -> flaw.span().label()),
                    Severity.of(link).label()));
            if (path.unposted().isPresent()) {
                unposted.add(0, guest(path), path.device(), vector);
            }
        }
        write("flaws", GAUGE, "Interrupt paths whose first flaw has this state.", counts);
        write("flaw", GAUGE, "1 for an interrupt path's first flaw, by its name in kvmirq doctor --rules.", single);
        write("vector_posted", GAUGE, "0 for a vector that the host could post but does not.", unposted);
        write(
                "flawed_vectors_left_out",
                GAUGE,
                "Vectors with a flaw beyond the first " + MOST_VECTORS + ", which have no series of their own.",
                Math.max(0, flawed.size() - MOST_VECTORS));
    }
}
