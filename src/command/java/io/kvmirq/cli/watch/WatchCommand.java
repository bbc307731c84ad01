/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.StopHook;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.host.HostChoice;
import io.kvmirq.cli.host.HostSource;
import io.kvmirq.cli.host.ListCommand;
import io.kvmirq.cli.host.LiveOption;
import io.kvmirq.cli.host.MemoryOption;
import io.kvmirq.diag.screens.Watcher;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.text.Foreign;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.time.LocalTime;
import java.time.ZoneId;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq watch}: rates of guests and vectors, and changes as they happen. Without {@code --live} it reads files only. */
public final class WatchCommand implements Command {
    private static final String ONCE = "--once";
    private static final String COUNT = "--count";
    private static final String JSON = "--json";
    private static final String LIVE = "--live";
    private static final double LONGEST_SECONDS = 3600;
    private static final double SHORTEST_SECONDS = 0.1;
    private static final long MILLIS = 1000;
    private static final int CTRL_L = 12;

    /** Null for this machine: without {@code --live} its classes are not loaded. */
    private final @Nullable LiveHost machine;

    public WatchCommand() {
        this(null);
    }

    /** @param machine what {@code --live} watches */
    WatchCommand(@Nullable LiveHost machine) {
        this.machine = machine;
    }

    @Override
    public void describe(Usage usage) {
        usage.description("Shows this host's guests and their device vectors, sorted by rate: host irqs, injected"
                        + " interrupts and exits per second, the busiest CPU, whether vectors are posted, a graph of"
                        + " the last minute, and the first flaw. Below, lists changes: AVIC inhibits set or cleared,"
                        + " vectors armed, disarmed, posted or no longer posted, changed affinities and power states,"
                        + " flaws found or gone, interrupt storms, and guests started or ended. A star marks a changed"
                        + " cell. If input or output is a pipe or a file, or TERM is dumb, prints a line for each"
                        + " change, and a summary at the end. Reads /proc, sysfs and debugfs. Writes only FILE with"
                        + " --textfile, and to tracefs with --live. Only root sees other users' guests.")
                .footer(Stream.concat(
                                Stream.concat(Stream.of("", "Keys:"), WatchScreen.KEYS.stream()),
                                Stream.of("", "Example: kvmirq watch --vm web", "         kvmirq watch --once"))
                        .toArray(String[]::new));
        usage.add(Command.option("--vm", "NAME|PID", String.class)
                .description("Show only this guest, given by name or process id."));
        usage.add(Command.option("--device", "BDF", String.class).description("Show only this device's vectors."));
        usage.add(Command.option("--interval", "SECONDS", String.class)
                .description("Seconds between two reads, 0.1 to 3600 (default: 1)."));
        usage.add(Command.option(COUNT, "N", Integer.class).description("Exit after N intervals."));
        usage.add(OptionSpec.builder(ONCE).description("Print one table after an interval, then exit."));
        usage.add(Command.option(ListCommand.TEXTFILE, "FILE", Path.class)
                .description(
                        "Also write the metrics of all guests to FILE after each full scan, as kvmirq list does."));
        usage.add(OptionSpec.builder(LIVE)
                .description("Also count interrupts at each stage of a vector's path with probes, as explain --live"
                        + " does, and show the first stage that loses interrupts. This writes to tracefs in the same"
                        + " way. Needs root."));
        MemoryOption.describe(usage);
        HostSource.describe(usage);
        usage.add(OptionSpec.builder(JSON).description("Print a JSON document for each interval, one per line."));
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        double seconds = Commands.read(arguments, () -> interval(arguments.matchedOptionValue("--interval", "1")));
        int given = arguments.matchedOptionValue(COUNT, Integer.MAX_VALUE);
        int count = Commands.read(arguments, () -> count(arguments.hasMatchedOption(ONCE) ? 1 : given));
        Optional<PciAddress> device = HostChoice.device(arguments);
        Optional<LiveHost> live = arguments.hasMatchedOption(LIVE)
                ? Optional.of(Commands.read(arguments, () -> LiveOption.machine(arguments, machine)))
                : Optional.empty();
        HostFiles files = live.map(LiveHost::files)
                .orElseGet(() -> Commands.read(arguments, () -> HostSource.withoutPci(arguments)));
        String vm = arguments.matchedOptionValue("--vm", "");
        HostFacts host = new HostFacts(files, terminal.host());
        if (!vm.isEmpty()) {
            HostChoice.guests(host, vm);
        }
        device.ifPresent(address -> HostChoice.device(host, address));
        Predicate<VmProcess> guests = process -> vm.isEmpty() || HostChoice.isNamed(process, vm);
        Predicate<InterruptPath> paths = path -> (device.isEmpty()
                        || path.interrupt()
                                .filter(interrupt -> interrupt.device().equals(device.get()))
                                .isPresent())
                && (vm.isEmpty() || path.guest().isPresent());
        ExecutorService looks = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, "kvmirq-look");
            thread.setDaemon(true);
            return thread;
        });
        boolean onScreen = !arguments.hasMatchedOption(ONCE)
                && !arguments.hasMatchedOption(JSON)
                && Boolean.getBoolean(Terminal.PROPERTY)
                && !System.getenv().getOrDefault("TERM", "dumb").equals("dumb");
        // JLine opens it while the first look is taken.
        CompletableFuture<Optional<WatchTerminal>> screen = onScreen
                ? CompletableFuture.supplyAsync(WatchTerminal::ofProcess, looks)
                : CompletableFuture.completedFuture(Optional.empty());
        CountDownLatch stop = new CountDownLatch(1);
        List<LiveWindow> begun = new ArrayList<>();
        return StopHook.during(
                () -> {
                    try (LiveWindow probes =
                                    live.map(found -> begin(found, begun)).orElse(null);
                            Watcher watcher = new Watcher(
                                    files,
                                    System::nanoTime,
                                    looks,
                                    guests,
                                    paths,
                                    MemoryOption.open(arguments, machine),
                                    now -> probes == null ? Optional.empty() : probes.counted(now))) {
                        Optional<String> without = probes == null ? Optional.empty() : probes.withoutProbes();
                        if (without.isPresent()) {
                            terminal.complain(LIVE + " needs probes, and none can be set: " + without.get());
                            return ExitCode.COULD_NOT_RUN;
                        }
                        if (probes != null) {
                            probes.notes().forEach(note -> terminal.complain("note: " + note));
                        }
                        return new Run(arguments, terminal, watcher, (long) (seconds * MILLIS), count, stop)
                                .run(screen);
                    } finally {
                        close(screen);
                        looks.shutdownNow();
                    }
                },
                () -> {
                    stop.countDown();
                    close(screen);
                    synchronized (begun) {
                        begun.forEach(LiveWindow::close);
                    }
                });
    }

    private static void close(CompletableFuture<Optional<WatchTerminal>> screen) {
        // Nothing is left to close if it failed.
        screen.exceptionally(failure -> Optional.empty()).join().ifPresent(WatchTerminal::close);
    }

    /** Sets the probes. A signal that comes meanwhile removes them afterwards. */
    private static LiveWindow begin(LiveHost machine, List<LiveWindow> begun) {
        synchronized (begun) {
            LiveWindow window = LiveWindow.ofProbes(machine, new HostFacts(machine.files()));
            begun.add(window);
            return window;
        }
    }

    private static double interval(String typed) {
        double seconds = typed.matches("\\d{1,4}(\\.\\d{1,3})?") ? Double.parseDouble(typed) : 0;
        if (seconds < SHORTEST_SECONDS || seconds > LONGEST_SECONDS) {
            throw new IllegalArgumentException(
                    "--interval " + Foreign.quoted(typed) + " is not a time: expected 0.1 to 3600 seconds, such as 2");
        }
        return seconds;
    }

    private static int count(int given) {
        if (given < 1) {
            throw new IllegalArgumentException(COUNT + " " + given + ": expected 1 or more intervals");
        }
        return given;
    }

    /** One run of the command. */
    private static final class Run {
        private final ParseResult arguments;
        private final Terminal terminal;
        private final Watcher watcher;
        private final long millis;
        private final int count;
        private final CountDownLatch stop;
        private final Map<String, Integer> changes = new TreeMap<>();
        private final long begin = System.nanoTime();
        private int done;
        private boolean written = true;
        private boolean onScreen;
        private String refused = "";

        Run(ParseResult arguments, Terminal terminal, Watcher watcher, long millis, int count, CountDownLatch stop) {
            this.arguments = arguments;
            this.terminal = terminal;
            this.watcher = watcher;
            this.millis = millis;
            this.count = count;
            this.stop = stop;
        }

        int run(CompletableFuture<Optional<WatchTerminal>> screen) {
            Watcher.Tick first = tick();
            if (!watcher.seesInterrupts()) {
                terminal.complain(ListCommand.NO_INTERRUPTS);
                return ExitCode.COULD_NOT_RUN;
            }
            if (!written) {
                return ExitCode.COULD_NOT_RUN;
            }
            screen.join().ifPresentOrElse(shown -> screen(first, shown), this::print);
            return written ? ExitCode.OK : ExitCode.COULD_NOT_RUN;
        }

        private Watcher.Tick tick() {
            Watcher.Tick tick = watcher.tick();
            tick.events().forEach(event -> changes.merge(event.what(), 1, Integer::sum));
            Optional<Path> textfile = Optional.ofNullable(arguments.matchedOptionValue(ListCommand.TEXTFILE, null));
            if (textfile.isPresent() && tick.scan().isPresent()) {
                ByteArrayOutputStream complaint = new ByteArrayOutputStream();
                written = ListCommand.write(textfile.get(), tick.scan().get(), terminal.complaining(complaint));
                String before = refused;
                refused = complaint.toString(StandardCharsets.UTF_8);
                if (!refused.equals(before) && !onScreen) {
                    complain();
                }
            }
            return tick;
        }

        /** Prints the last error message of the text file: not at each look, nor over a screen. */
        private void complain() {
            terminal.err().print(refused);
            terminal.err().flush();
        }

        private WatchScreen screenOf(Watcher.Tick tick, boolean styled, boolean all) {
            return new WatchScreen(
                    "kvmirq watch" + terminal.host() + ", every " + millis / (double) MILLIS + " s", styled, all, tick);
        }

        private void screen(Watcher.Tick first, WatchTerminal opened) {
            boolean all = arguments.hasMatchedOption("--vm") || arguments.hasMatchedOption("--device");
            onScreen = true;
            try (WatchTerminal shown = opened) {
                show(screenOf(first, terminal.colour(), all), shown);
            }
            complain();
            terminal.line(summary());
        }

        private void show(WatchScreen screen, WatchTerminal shown) {
            long interval = TimeUnit.MILLISECONDS.toNanos(millis);
            long next = System.nanoTime() + interval;
            shown.draw(screen);
            while (!screen.quits() && done < count) {
                long left = TimeUnit.NANOSECONDS.toMillis(next - System.nanoTime());
                // A short wait, so that another size is seen at once.
                int key = left > 0 ? shown.key(Math.min(left, 100)) : -1;
                if (key >= 0) {
                    screen.key(key);
                }
                boolean due = System.nanoTime() - next >= 0;
                if (due) {
                    screen.take(tick(), LocalTime.now(ZoneId.systemDefault()));
                    done++;
                    // After a stop of the process the time that was missed is not made up.
                    long now = System.nanoTime();
                    next = next + interval > now ? next + interval : now + interval;
                }
                if (key == CTRL_L) {
                    shown.redraw();
                }
                if (due || key >= 0 || shown.needsDrawing()) {
                    shown.draw(screen);
                }
            }
        }

        private void print() {
            boolean json = arguments.hasMatchedOption(JSON);
            while (done < count && !terminal.out().checkError() && !StopHook.await(stop, millis)) {
                Watcher.Tick tick = tick();
                if (arguments.hasMatchedOption(ONCE) && tick.scan().isEmpty()) {
                    continue; // A look counts stages, and reads kernel memory.
                }
                done++;
                if (json) {
                    write(tick);
                } else if (arguments.hasMatchedOption(ONCE)) {
                    int columns = terminal.wrapColumns() > 0 ? terminal.wrapColumns() : terminal.columns();
                    screenOf(tick, false, true).table(columns).forEach(terminal::line);
                } else {
                    tick.events().forEach(event -> terminal.out()
                            .println(Instant.now().truncatedTo(ChronoUnit.SECONDS) + " " + WatchScreen.text(event)));
                }
            }
            if (!json && !arguments.hasMatchedOption(ONCE)) {
                terminal.line(summary());
            }
        }

        private void write(Watcher.Tick tick) {
            Json.print(terminal, "kvmirq.watch/1", json -> json.value(
                            "time", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString())
                    .value("milliseconds", Math.round(tick.seconds() * MILLIS))
                    .objects("rows", tick.rows(), (to, row) -> to.value("guest", row.guest())
                            .value("pid", row.pid())
                            .value("device", row.device())
                            .value("interrupt", row.interrupt())
                            .value("hostIrq", known(row.irq()))
                            .value("perSecond", known(row.rate()))
                            .value("injectedPerSecond", known(row.injected()))
                            .value("exitsPerSecond", known(row.exits()))
                            .value("cpu", known(row.cpu()))
                            .value("posted", row.posted())
                            .value("stages", row.stages())
                            .value("flaw", row.flaw()))
                    .value("changes", tick.events()));
        }

        /** Empty for a negative number, which stands for one that no file shows. */
        private static OptionalLong known(double number) {
            return number < 0 ? OptionalLong.empty() : OptionalLong.of(Math.round(number));
        }

        private String summary() {
            long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - begin);
            int sum = changes.values().stream().mapToInt(Integer::intValue).sum();
            return Foreign.printable("watched for " + seconds + " s, " + sum + (sum == 1 ? " change" : " changes")
                    + (sum == 0
                            ? ""
                            : ": "
                                    + changes.entrySet().stream()
                                            .map(entry -> entry.getValue() + " " + entry.getKey())
                                            .collect(Collectors.joining(", "))));
        }
    }
}
