/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.StopHook;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.diag.sources.Watch;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ParseResult;

/** The option {@code --live}: watches this machine for a while before a command prints. */
public final class LiveOption {
    static final String NAME = "--live";
    private static final int LONGEST_SECONDS = 3600;
    private static final int BY_DEFAULT = 10;
    private static final String TRACEPOINTS = "tracepoints";
    /** The limit for printing after Ctrl-C, before the process ends. */
    private static final int SECONDS_TO_PRINT = 20;

    private static final int PER_MILLE_OF_PERCENT = 10;

    private static final Duration SHORT_READ = Duration.ofSeconds(1);

    private final LiveHost machine;
    private final int seconds;
    private final boolean byProbes;

    private LiveOption(LiveHost machine, int seconds, boolean byProbes) {
        this.machine = machine;
        this.seconds = seconds;
        this.byProbes = byProbes;
    }

    static void describe(Command.Usage usage) {
        usage.add(Command.option(NAME, "SECONDS", String.class)
                .description("Watch this machine for 1 to " + LONGEST_SECONDS
                        + " seconds: counters, tracepoints and, with explain,"
                        + " probes. This writes to the host: it creates directories kvmirq-PID-... in"
                        + " /sys/kernel/tracing/instances, probes and synthetic events, and removes them at the"
                        + " end, even after Ctrl-C, which ends the watch early. After kill -9, the next run with"
                        + " --live removes them. --live=tracepoints watches for " + BY_DEFAULT
                        + " seconds without probes, --live=SECONDS,tracepoints for SECONDS. Needs root."));
    }

    /**
     * Reads it. Empty if it is not given. A wrong value, or another option that it excludes, is a usage error.
     *
     * @param machine null for this one
     */
    static Optional<LiveOption> parse(ParseResult arguments, @Nullable LiveHost machine) {
        return arguments.hasMatchedOption(NAME)
                ? Optional.of(Commands.read(arguments, () -> given(arguments, machine)))
                : Optional.empty();
    }

    /** The files of the machine that is watched, or else of the chosen host. */
    static HostFiles files(Optional<LiveOption> live, ParseResult arguments) {
        return live.map(option -> option.machine.files())
                .orElseGet(() -> Commands.read(arguments, () -> HostSource.parse(arguments)));
    }

    private static LiveOption given(ParseResult arguments, @Nullable LiveHost machine) {
        String typed = arguments.matchedOptionValue(NAME, "");
        boolean byProbes = !typed.endsWith(TRACEPOINTS);
        String time = typed.equals(TRACEPOINTS) ? String.valueOf(BY_DEFAULT) : typed.replace("," + TRACEPOINTS, "");
        int seconds = time.matches("\\d{1,4}") ? Integer.parseInt(time) : 0;
        if (seconds < 1 || seconds > LONGEST_SECONDS) {
            throw new IllegalArgumentException(NAME + " " + Foreign.quoted(typed) + " is not a time: expected 1 to "
                    + LONGEST_SECONDS + " seconds, such as 10");
        }
        return new LiveOption(machine(arguments, machine), seconds, byProbes);
    }

    /**
     * The machine that is watched. An option that names another one is wrong.
     *
     * @param machine null for this one
     */
    public static LiveHost machine(ParseResult arguments, @Nullable LiveHost machine) {
        for (String other : List.of("--fake", "--root", "--from")) {
            if (arguments.hasMatchedOption(other)) {
                throw new IllegalArgumentException(
                        NAME + " watches this machine, but " + other + " reads another host: use one of them");
            }
        }
        return machine == null ? LiveHost.thisMachine() : machine;
    }

    /** As {@link #parse}, without probes, for a command that does not print their counts. */
    LiveOption byTracepoints() {
        return new LiveOption(machine, seconds, false);
    }

    LiveHost machine() {
        return machine;
    }

    /**
     * Watches, and then lets the command print. A signal that ends this process first ends the watch, and waits for the
     * command.
     *
     * @param devices whose interrupts are asked for
     * @param guests whose events are told apart
     * @param answer prints the result of the watch; returns the exit code
     */
    int run(
            HostFacts host,
            List<PciAddress> devices,
            List<VmProcess> guests,
            Terminal terminal,
            Function<Watched, Integer> answer) {
        return run(terminal, () -> LiveWindow.begin(machine, host, devices, guests, byProbes), window -> {
            HostFacts after = new HostFacts(machine.files());
            return answer.apply(new Watched(window.end(after), after));
        });
    }

    /**
     * As {@link #run(HostFacts, List, List, Terminal, Function)}, for any watch.
     *
     * @param begin begins it
     * @param end ends it and prints; returns the exit code
     */
    <W extends Watch> int run(Terminal terminal, Supplier<W> begin, ToIntFunction<W> end) {
        CountDownLatch ended = new CountDownLatch(1);
        List<Watch> windows = new ArrayList<>();
        return StopHook.during(
                () -> {
                    try (W window = begun(begin, windows, ended)) {
                        terminal.err().println("kvmirq: watching for " + seconds + " s; Ctrl-C ends that early");
                        window.await(seconds);
                        int code = end.applyAsInt(window);
                        terminal.out().flush();
                        return code;
                    } catch (InterruptedException e) {
                        throw new IllegalStateException("nobody interrupts a command", e);
                    }
                },
                () -> {
                    synchronized (windows) {
                        windows.forEach(Watch::endEarly);
                        ended.countDown();
                    }
                },
                SECONDS_TO_PRINT,
                () -> {
                    synchronized (windows) {
                        windows.forEach(Watch::close);
                    }
                });
    }

    private static <W extends Watch> W begun(Supplier<W> begin, List<Watch> windows, CountDownLatch ended) {
        synchronized (windows) {
            W window = begin.get();
            windows.add(window);
            if (ended.getCount() == 0) {
                window.endEarly();
            }
            return window;
        }
    }

    /** The events of the watch, and the host after it. */
    record Watched(Live live, HostFacts host) {}

    // Output

    static void print(Live live, Terminal terminal) {
        terminal.say("watched for " + live.time() + " with " + percent(live) + " % of a CPU, plus "
                + live.around().toMillis() + " ms of CPU time to start and read the trace");
        if (live.before().plus(live.afterwards()).compareTo(SHORT_READ) > 0) {
            terminal.say("  setting the probes took " + Live.seconds(live.before()) + ", reading and removing them "
                    + Live.seconds(live.afterwards())
                    + ", because the kernel waits for all CPUs at each probe");
        }
        if (!live.counters().isEmpty()) {
            terminal.say("  counters: "
                    + live.counters().stream()
                            .map(counter -> counter.name() + " +" + counter.grew())
                            .collect(Collectors.joining(", ")));
        }
        for (Live.Seen event : live.events()) {
            terminal.say(
                    "  " + event.event() + ": " + (live.lost() > 0 ? "at least " : "") + event.count() + where(event));
        }
        for (Stages stages : live.stages()) {
            terminal.say("  stages, counted in the kernel:");
            stages.stages().forEach(stage -> {
                terminal.say(String.format("    %-12s %10s  %s", stage.label(), stage.counted(), stage.value())
                        .stripTrailing());
                stage.latency().ifPresent(latency -> terminal.say(" ".repeat(29) + latency));
            });
            terminal.say("    first to lose interrupts: " + stages.loses().orElse("none"));
            stages.doubt().ifPresent(doubt -> terminal.say("    in doubt: " + doubt));
        }
        if (live.lost() > 0) {
            terminal.say("  trace buffer overflow lost " + live.lost() + " events; the newest were kept");
        }
        print("  ", live.missing(), live.notes(), terminal);
    }

    /** Prints what a watch could not read, and its notes. */
    static void print(String before, List<Known.Unknown<?>> missing, List<String> notes, Terminal terminal) {
        missing.forEach(unknown -> {
            terminal.say(before + "not readable: " + unknown.why());
            terminal.say(before + "              to see it: " + unknown.remedy());
        });
        notes.forEach(note -> terminal.say(before + "note: " + note));
    }

    private static String where(Live.Seen seen) {
        String parts = Stream.of(
                        seen.inHandlers() + " in handlers of these host irqs",
                        seen.ofGuest() + " in threads of the guest's process",
                        seen.ofWorkers() + " in kernel workers")
                .filter(part -> !part.startsWith("0 "))
                .collect(Collectors.joining(", "));
        return parts.isEmpty() ? "" : ", including " + parts;
    }

    private static String percent(Live live) {
        return live.perMille() / PER_MILLE_OF_PERCENT + "." + live.perMille() % PER_MILLE_OF_PERCENT;
    }

    static void write(Json json, Live live) {
        json.object("live", to -> to.value("milliseconds", live.watched())
                .value("cpuMilliseconds", live.cost())
                .value("aroundCpuMilliseconds", live.around())
                .value("beforeMilliseconds", live.before())
                .value("afterwardsMilliseconds", live.afterwards())
                .value("counters", live.counters())
                .value("events", live.events())
                .value("stages", live.stages())
                .value("lost", live.lost())
                .value("missing", live.missing())
                .value("notes", live.notes()));
    }
}
