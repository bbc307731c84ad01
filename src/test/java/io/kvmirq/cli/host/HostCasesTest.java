/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.trace.FakeTracefs;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.host.trace.RecordedTracing;
import io.kvmirq.host.trace.TextTrace;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Hosts, still and watched, and what a command prints about them. A line of a case sets up its host, runs a command
 * ({@code CODE> WORDS}), or says what the command before has printed.
 *
 * <p>{@code host TREE; CHANGES} takes a tree of {@link PlantedFaultsTest#host} and {@code change CHANGES} changes it
 * further, as in faults.txt. {@code meanwhile CHANGES} happen while the host is watched. {@code trace FORMATS TRACE} is its
 * trace, to which each {@code event} adds, and {@code probes} is a tracefs whose histograms {@code count} and {@code file}
 * fill. {@code counted} and {@code routes} are the usual ones of host irq 27. {@code vmm} is a command line.
 *
 * <p>The output contains {@code +} a text, continued by {@code |} lines, {@code 1} once, {@code ~} with single spaces; it
 * begins with {@code ^} and ends with {@code .}; it lacks {@code -}, is {@code like} that of another command, and has so
 * many {@code lines}. {@code from} and {@code until} leave a part of it. It is
 * the file {@code golden}; a refusal has the sentence {@code err}, or {@code has} a part of it. A watch has recorded the threads {@code asked}, filtered the events
 * {@code chosen}, and shown the {@code rows} of another command.
 */
class HostCasesTest {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    private record Case(String name, List<String> lines) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Case> cases() throws IOException {
        List<Case> all = new ArrayList<>();
        for (String file : List.of("live", "explain", "doctor", "vfio", "vcpus")) {
            String[] cases = Cli.golden(HostCasesTest.class, file + ".txt").split("(?m)^== ");
            assertThat(cases).as(file).hasSizeGreaterThan(1);
            for (String text : Arrays.asList(cases).subList(1, cases.length)) {
                List<String> lines = text.lines().toList();
                all.add(new Case(file + ": " + lines.get(0), lines.subList(1, lines.size())));
            }
        }
        return all.stream();
    }

    private String tree = "";
    private RecordedHost host = new RecordedHost();
    private String meanwhile = "";
    private String formats = "x86-7.2";
    private final StringBuilder trace = new StringBuilder();
    private int events;
    private long lost;
    private Optional<Known<Tracing>> untraced = Optional.empty();
    private Optional<FakeTracefs> probes = Optional.empty();
    private Optional<Known<Probes>> unprobed = Optional.empty();
    private List<String> tidied = List.of();
    private Cli.Ended ended = new Cli.Ended(0, "", "");
    private Watched watched = new Watched(host, new Known.Unknown<>("nothing ran"));
    private String earlier = "";
    private boolean watches;
    private String chosen = "";
    private String out = "";

    @ParameterizedTest
    @MethodSource("cases")
    void commandPrints(Case wanted) throws IOException {
        for (int at = 0; at < wanted.lines.size(); at++) {
            StringBuilder line = new StringBuilder(wanted.lines.get(at));
            while (at + 1 < wanted.lines.size() && wanted.lines.get(at + 1).startsWith("| ")) {
                line.append('\n').append(wanted.lines.get(++at).substring(2));
            }
            String[] words = line.toString().split(" ", 2);
            String rest = words.length > 1 ? PlantedFaultsTest.unescaped(words[1]) : "";
            try {
                if (words[0].endsWith(">")) {
                    command(Integer.parseInt(words[0].replace(">", "")), rest.split(" "));
                } else if (!wanted.lines.get(at).isBlank() && !expect(words[0], rest)) {
                    prepare(words[0], words.length > 1 ? words[1] : "");
                }
            } catch (AssertionError failure) {
                throw new AssertionError(wanted + ": " + line + "\n" + failure.getMessage(), failure);
            }
        }
    }

    private void prepare(String verb, String rest) throws IOException {
        String[] words = rest.split(" ");
        switch (verb) {
            case "host" -> host(rest);
            case "change" -> PlantedFaultsTest.apply(host, tree, rest);
            case "vmm" ->
                host.put("proc/100/cmdline", PlantedFaultsTest.unescaped(rest).replace(' ', '\0') + "\0");
            case "earlier" -> earlier = written();
            case "meanwhile" -> meanwhile = rest;
            case "trace" -> {
                formats = words[0];
                trace.setLength(0);
                trace.append(words.length > 1 ? recorded(words[1], words.length > 2 ? words[2] : "") : "");
            }
            case "event" ->
                trace.append(rest.replaceFirst(": ", String.format("     1.%06d: ", 100 + events++)))
                        .append('\n');
            case "lost" -> lost = Long.parseLong(rest);
            case "untraced" -> untraced = Optional.of(unknown(rest));
            case "unprobed" -> unprobed = Optional.of(unknown(rest));
            case "tidied" -> tidied = List.of(rest);
            case "probes" -> probes = Optional.of(new FakeTracefs());
            case "count" -> count(words[0], words[1], rest.split(" ", 3)[2]);
            case "file" -> probed().text(words[0], PlantedFaultsTest.unescaped(rest.split(" = ", 2)[1]) + "\n");
            case "refuse" -> probed().refuse(rest);
            case "counted" -> counted(words);
            case "routes" -> routes(words[0], words[1]);
            default -> throw new IllegalArgumentException(verb + " " + rest);
        }
    }

    private static <T> Known<T> unknown(String reasonAndRemedy) {
        String[] both = reasonAndRemedy.split(" \\| ");
        return new Known.Unknown<>(both[0], both[1]);
    }

    private void host(String treeAndChanges) throws IOException {
        tree = treeAndChanges.split("; ")[0];
        host = PlantedFaultsTest.apply(PlantedFaultsTest.host(tree), tree, treeAndChanges.substring(tree.length()));
        probes = Optional.empty();
        unprobed = Optional.empty();
        untraced = Optional.empty();
        meanwhile = "";
        formats = tree.equals("vcpus") ? "x86-6.18-pvm" : "x86-7.2";
        trace.setLength(0);
        lost = 0;
    }

    /** A recorded trace, whose threads get their names, or its lines with a word or, if it has a !, without. */
    private String recorded(String name, String word) throws IOException {
        String text = RecordedTracing.trace(name);
        if (word.equals("tasks")) {
            TextTrace.tasks(text).forEach((tid, task) -> host.put("proc/" + tid + "/comm", task + "\n"));
            return text;
        }
        return text.lines()
                .filter(line -> line.contains(word.replace("!", "")) != word.startsWith("!"))
                .collect(Collectors.joining("\n", "", "\n"));
    }

    private FakeTracefs probed() {
        return probes.orElseThrow();
    }

    private void count(String event, String keys, String rows) {
        probed().counts(
                        event,
                        keys,
                        Arrays.stream(rows.split(", "))
                                .map(row -> Arrays.stream(row.split(" "))
                                        .mapToLong(Long::decode)
                                        .toArray())
                                .toArray(long[][]::new));
    }

    /** The eventfd that host irq 27 signals has kept all of its signals. */
    private void watch27() throws IOException {
        host("remapped; proc/100/task/100/comm = web; proc/100/comm = web; proc/108/comm = vhost-100; "
                + "{vmm}fd/39 -> anon_inode:[eventfd]; {vmm}fdinfo/39 = pos:\\t0\\neventfd-count: 14\\neventfd-id: 9");
        meanwhile = "proc/interrupts more 27 20";
        probes = Optional.of(new FakeTracefs());
        count("_host_irq", "irq,id", "27 9 20");
    }

    /** An irqfd of process 100, in wait queue entry 1, takes so many signals of eventfd 9. */
    private void counted(String[] words) throws IOException {
        watch27();
        if (words.length < 4) {
            return;
        }
        long woken = Long.parseLong(words[1]);
        long routed = Long.parseLong(words[2]);
        if (woken > 0) {
            count("_wakeup", "wait,id,gsi", "-4096 9 24 " + woken + ", -8192 3 5 7");
            count("_wakeup", "wait,id,pid", "-4096 9 100 " + woken + ", -8192 3 100 7");
            count("_wakeup", "wait,id,type", "-4096 9 2 " + routed + ", -8192 3 1 7");
            count("_wakeup", "id,address,data", "9 0xfee01000 0x4041 " + woken);
            count("_wakeup", "id,common_pid", "3 100 4, 3 108 2, 3 7 1");
            if (woken > routed) {
                count("_wakeup", "wait,id,type", "-4096 9 0 " + (woken - routed));
                count("_by_worker", "id,ret", "9 -1 " + (woken - routed));
                count("_unrouted", "id", "9 " + (woken - routed));
            }
            count(
                    "_sent",
                    "wait,id,ret",
                    "-4096 9 " + words[3] + " " + routed + ", -4096 9 -11 " + (woken - routed) + ", -8192 3 -11 7");
        }
    }

    /** Eventfd 9 has pins of a PIC and an IOAPIC, as KVM's default routes have them: type 0 too. */
    private void routes(String raised, String refused) throws IOException {
        watch27();
        count("_wakeup", "wait,id,gsi", "-4096 9 10 20");
        count("_wakeup", "wait,id,pid", "-4096 9 100 20");
        count("_wakeup", "wait,id,type", "-4096 9 0 20");
        count("_wakeup", "id,address,data", "9 0 0 20");
        count("_sent", "wait,id,ret", "-4096 9 -11 20");
        count("_by_worker", "id,ret", "9 1 " + raised + ", 9 -1 " + refused);
    }

    private void command(int code, String[] words) throws IOException {
        List<String> all = List.of(words);
        watches = all.stream().anyMatch(word -> word.startsWith("--live"));
        if (watches) {
            RecordedTracing tracing = RecordedTracing.of(formats, trace.toString(), lost);
            watched = new Watched(host, untraced.orElse(new Known.Observed<>(tracing)));
            watched.tidied = tidied;
            watched.probes = probes.map(FakeTracefs::begin).or(() -> unprobed);
            watched.change = () -> PlantedFaultsTest.apply(host, tree, meanwhile);
            ended = Watched.run(watched, words);
            probes.ifPresent(tracefs -> assertThat(tracefs.isEmpty()).isTrue());
            chosen = String.join("\n", tracing.chosen());
            assertThat(tracing.isClosed()).isEqualTo(!chosen.isEmpty());
            assertThat(watched.asked.isEmpty() || all.contains("--vcpus")).isTrue();
        } else if (!all.contains("--fake")) {
            still(words);
        } else {
            ended = Cli.run(words);
        }
        ended.exited(code);
        out = ended.out();
    }

    /** On the host's files: a copy of them (HOST), one from before a change (EARLIER), or a capture (CAPTURE). */
    private void still(String[] words) throws IOException {
        List<String> all = new ArrayList<>(List.of(words));
        if (Collections.disjoint(all, Set.of("HOST", "EARLIER", "CAPTURE"))) {
            all.addAll(
                    List.of("doctor", "vfio").contains(all.get(0))
                            ? List.of("--root", "HOST")
                            : List.of("--from", "CAPTURE"));
        }
        for (int at = 0; at < all.size(); at++) {
            switch (all.get(at)) {
                case "HOST" -> all.set(at, written());
                case "EARLIER" -> all.set(at, earlier);
                case "CAPTURE" -> all.set(at, host.archive(temporary).toString());
                default -> {}
            }
        }
        ended = Cli.run(all.toArray(String[]::new));
    }

    private String written() throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        host.writeTo(root);
        return root.toString();
    }

    private List<String> rows() {
        return ended.out()
                .lines()
                .filter(line -> line.matches(" ? ?\\w.*"))
                .map(line -> line.substring(0, Math.min(16, line.length())))
                .toList();
    }

    /** Whether a line says something of the output. */
    private boolean expect(String verb, String text) throws IOException {
        switch (verb) {
            case "+" -> assertThat(out).contains(text);
            case "1" -> assertThat(out).containsOnlyOnce(text);
            case "~" -> assertThat(out.replaceAll("\\s+", " ")).contains(text);
            case "^" -> assertThat(out).startsWith(text);
            case "." -> assertThat(out).endsWith(text + "\n");
            case "-" -> assertThat(out).doesNotContain(text);
            case "from" -> out = ended.out().substring(ended.out().indexOf(text));
            case "until" -> out = ended.out().substring(0, ended.out().indexOf(text));
            case "rows" -> {
                List<String> seen = rows();
                still(text.split(" "));
                assertThat(seen).containsAll(rows());
                assertThat(rows()).hasSizeGreaterThan(2);
            }
            case "chosen" -> assertThat(chosen).isEqualTo(text);
            case "asked" ->
                assertThat(watched.asked.stream().sorted().map(String::valueOf).collect(Collectors.joining(" ")))
                        .isEqualTo(text);
            case "golden" -> {
                assertThat(out).isEqualTo(Recorded.text(HostCasesTest.class, text, out));
                assertThat(ended.err()).isEqualTo(watches ? "kvmirq: watching for 10 s; Ctrl-C ends that early\n" : "");
            }
            case "lines" -> assertThat(out).hasLineCount(Integer.parseInt(text));
            case "like" -> {
                Cli.Ended same = ended;
                still(text.split(" "));
                assertThat(same).isEqualTo(ended);
            }
            case "has" -> assertThat(ended.err()).contains(text);
            case "err" -> {
                assertThat(ended.out()).isEmpty();
                assertThat(ended.err().replaceFirst(" --from [^ ']+'", "'")).isEqualTo("kvmirq: " + text + "\n");
            }
            default -> {
                return false;
            }
        }
        return true;
    }
}
