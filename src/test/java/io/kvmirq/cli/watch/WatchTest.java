/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.diag.screens.Watcher;
import io.kvmirq.diag.screens.Watcher.Event;
import io.kvmirq.diag.screens.Watcher.Row;
import io.kvmirq.diag.sources.StillHost;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.trace.FakeTracefs;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.path.Known;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalTime;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import org.jline.terminal.Attributes.LocalFlag;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal.Signal;
import org.jline.terminal.impl.LineDisciplineTerminal;
import org.jline.utils.AttributedString;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The screen of {@code kvmirq watch}, its keys and its terminal, and its lines in a pipe. */
class WatchTest {
    private static final LocalTime NOON = LocalTime.NOON;
    private static final String WEB = "web";
    private static final String EVIL = "a\"b\\c\nd\033[31m";

    @TempDir
    private Path temporary;

    private static Deque<Double> history(double... rates) {
        return DoubleStream.of(rates).boxed().collect(Collectors.toCollection(ArrayDeque::new));
    }

    private static Row guest(String name, int pid, double rate, int cpu, String posted) {
        return new Row(
                name,
                pid,
                "",
                "",
                -1,
                rate,
                rate / 2,
                rate * 3,
                cpu,
                posted,
                List.of(),
                "",
                Set.of(),
                history(1, 5, rate, rate / 2));
    }

    private static Row vector(
            String name, int pid, int vector, double rate, String posted, String flaw, String... marked) {
        return new Row(
                name,
                pid,
                name.equals(WEB) ? "0000:3b:00.0" : "0000:3c:00.0",
                "MSI-X " + vector,
                98 + vector,
                rate,
                -1,
                -1,
                vector,
                posted,
                List.of(),
                flaw,
                Set.of(marked),
                history(rate, rate / 4, rate / 2));
    }

    private static Watcher.Tick tick(Event... events) {
        return new Watcher.Tick(
                1,
                List.of(
                        guest(WEB, 471, 20_600, 0, "2/3"),
                        vector(WEB, 471, 0, 12_345, "yes", "", "cpu"),
                        vector(WEB, 471, 1, 8_200, "no", "device broken: bus mastering is off", "flaw"),
                        vector(WEB, 471, 2, 55.25, "yes", ""),
                        guest(EVIL, 99, 3, 3, "0/1"),
                        vector(EVIL, 99, 3, 3, "", "")),
                List.of(events),
                new TreeMap<>(Map.of("PIN", 120.0, "PIW", 4.0, "ERR", 0.0)),
                Map.of(0, 8_200.0, 3, 12_400.0),
                Optional.empty());
    }

    private static WatchScreen screen(boolean all) {
        WatchScreen screen = new WatchScreen("kvmirq watch, every 1.0 s", true, all, tick());
        screen.take(
                tick(
                        new Event("affinity", WEB, "0000:3b:00.0", "MSI-X 0", "host irq 98 moved from CPU 3 to CPU 0"),
                        new Event("inhibited", EVIL, "", "", "pit_reinj inhibits AVIC")),
                NOON);
        return screen;
    }

    private static List<String> text(WatchScreen screen, int width, int height) {
        return screen.lines(width, height).stream()
                .map(AttributedString::toString)
                .toList();
    }

    @ParameterizedTest
    @CsvSource({"80,24", "200,30", "40,16", "40,5", "20,3", "1,1", "80,2"})
    void screenFits(int width, int height) throws Exception {
        WatchScreen screen = screen(true);
        for (int key : new int[] {' ', 'h', 'h', 'c', 'c', 'k', 'j', 'j', 'e', 's', 's', '/', 'w', '\r'}) {
            screen.key(key);
            assertThat(screen.lines(width, height))
                    .hasSizeLessThanOrEqualTo(height)
                    .allMatch(line -> line.columnLength() <= width);
        }
    }

    @ParameterizedTest
    @CsvSource({"80,20", "40,16", "200,20"})
    void screenIsAsRecorded(int width, int height) throws Exception {
        StringBuilder text = new StringBuilder();
        text(screen(true), width, height)
                .forEach(line -> text.append(line.stripTrailing()).append('\n'));
        assertThat(text.toString())
                .doesNotContain("\033")
                .isEqualTo(Recorded.text(WatchTest.class, "watch-" + width + ".txt", text.toString()));
    }

    /** The page shows the recorded screen. */
    @Test
    void pageHasTheScreen() throws IOException {
        String page = Files.readString(Machine.root().resolve("src/docs/command.md"));
        assertThat(page).contains(Cli.golden(WatchTest.class, "watch-80.txt"));
    }

    @Test
    void rowsAreSortedByRateAndThenByName() throws Exception {
        WatchScreen screen = screen(true);
        assertThat(String.join("\n", text(screen, 80, 30)))
                .containsSubsequence("web (471)", "MSI-X 0", "MSI-X 1", "MSI-X 2", "a\"b", "MSI-X 3");
        screen.key('s');
        assertThat(String.join("\n", text(screen, 80, 30))).containsSubsequence("a\"b", "MSI-X 3", "web (471)");
    }

    @Test
    void keysOpenFilterPauseAndQuit() throws Exception {
        WatchScreen screen = screen(false);
        assertThat(text(screen, 80, 30)).noneMatch(line -> line.contains("3b:00.0 MSI-X 0  "));
        screen.key('\r');
        assertThat(text(screen, 80, 30)).anyMatch(line -> line.startsWith("  3b:00.0 MSI-X 0"));
        for (int key : "/bus mas\r".chars().toArray()) {
            screen.key(key);
        }
        assertThat(text(screen, 80, 30))
                .anyMatch(line -> line.startsWith("  3b:00.0 MSI-X 1"))
                .noneMatch(line -> line.startsWith("  3b:00.0 MSI-X 0"));
        screen.take(
                new Watcher.Tick(
                        1, List.of(guest("Bus Mas", 7, 1, 1, "2/3")), List.of(), Map.of(), Map.of(), Optional.empty()),
                NOON);
        assertThat(text(screen, 80, 30)).as("the guest has no vector").anyMatch(line -> line.startsWith("Bus Mas (7)"));
        screen.take(tick(), NOON);
        screen.key('p');
        screen.take(new Watcher.Tick(1, List.of(), List.of(), Map.of(), Map.of(), Optional.empty()), NOON);
        assertThat(text(screen, 80, 30)).anyMatch(line -> line.startsWith("web (471)"));
        screen.key('p');
        screen.take(new Watcher.Tick(1, List.of(), List.of(), Map.of(), Map.of(), Optional.empty()), NOON);
        assertThat(text(screen, 80, 30)).anyMatch(line -> line.startsWith("no row matches"));
        assertThat(screen.quits()).isFalse();
        screen.key('q');
        assertThat(screen.quits()).isTrue();
    }

    /** The terminal takes bytes as a user types them, and tells of another size. */
    @Test
    void terminalReadsKeysAndSeesItsSize() throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (LineDisciplineTerminal line = new LineDisciplineTerminal("test", "xterm", out, StandardCharsets.UTF_8)) {
            line.setSize(new Size(80, 24));
            WatchTerminal terminal = new WatchTerminal(line);
            terminal.draw(screen(true));
            assertThat(out.toString(StandardCharsets.UTF_8))
                    .contains("kvmirq watch, every 1.0 s")
                    .doesNotContain("\033[31m");
            assertThat(terminal.needsDrawing()).isFalse();
            line.processInputBytes("s\033[A\033OB".getBytes(StandardCharsets.UTF_8));
            assertThat(List.of(terminal.key(1000), terminal.key(1000), terminal.key(1000)))
                    .containsExactly((int) 's', (int) 'k', (int) 'j');
            line.setSize(new Size(40, 5));
            line.raise(Signal.WINCH);
            assertThat(terminal.needsDrawing()).isTrue();
            terminal.draw(screen(true));
            line.raise(Signal.CONT);
            assertThat(terminal.needsDrawing()).isTrue();
            line.raise(Signal.INT);
            assertThat(terminal.key(1000)).isEqualTo('q');
            out.reset();
            terminal.close();
            terminal.close();
            assertThat(out.toString(StandardCharsets.UTF_8)).containsOnlyOnce("\033[?1049l");
        }
    }

    /** A look that fails ends the command before the first screen. */
    @Test
    void terminalThatWasNotDrawnIsClosedAsItWas() throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        List<String> closed = new ArrayList<>();
        try (LineDisciplineTerminal line = new LineDisciplineTerminal("test", "xterm", out, StandardCharsets.UTF_8)) {
            line.setOnClose(() -> closed.add("closed"));
            WatchTerminal terminal = new WatchTerminal(line);
            assertThat(line.getAttributes().getLocalFlag(LocalFlag.ECHO)).isFalse();
            line.raise(Signal.INT);
            terminal.draw(screen(true));
            assertThat(terminal.key(1000)).isEqualTo('q');
            terminal.close();
            assertThat(line.getAttributes().getLocalFlag(LocalFlag.ECHO)).isTrue();
            assertThat(closed).containsExactly("closed");
            assertThat(out.toString(StandardCharsets.UTF_8)).isEqualTo("^C");
        }
    }

    private String[] command(String host, String... more) throws IOException {
        List<String> words = new ArrayList<>(List.of(
                "watch", "--from", GuestHosts.of(host).archive(temporary).toString()));
        words.addAll(List.of("--interval", "0.1"));
        words.addAll(List.of(more));
        return words.toArray(String[]::new);
    }

    @Test
    void pipeHasASummary() throws IOException {
        assertThat(Cli.run(command("amd-pit", "--count", "2")))
                .isEqualTo(new Cli.Ended(ExitCode.OK, "watched for 0 s, 0 changes\n", ""));
    }

    @Test
    void oneTableHasGuestsAndTheirVectors() throws IOException {
        assertThat(Cli.run(command("amd-pit", "--once")).exited(0).out())
                .startsWith("kvmirq watch --from ")
                .contains("\nweb (100) ")
                .contains("\n  00:02.0 MSI-X 4 ");
        assertThat(Cli.run(command("amd-pit", "--once", "--device", "00:03.0"))
                        .exited(0)
                        .out())
                .doesNotContain("00:02.0");
        assertThat(Cli.run(command("amd-pit", "--vm", "mail"))
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .contains("no guest 'mail' is visible: use one of 'web' (process 100)");
    }

    @Test
    void jsonIsADocumentForEachInterval() throws IOException {
        assertThat(Cli.run(command("amd-pit", "--json", "--count", "2"))
                        .exited(0)
                        .out()
                        .lines())
                .hasSize(2)
                .allMatch(line -> line.startsWith("{\"schema\":\"kvmirq.watch/1\",\"time\":"))
                .allMatch(line -> line.contains("{\"guest\":\"web\",\"pid\":100,\"device\":\"0000:00:02.0\","
                        + "\"interrupt\":\"MSI-X 0\",\"hostIrq\":27,\"perSecond\":0,\"injectedPerSecond\":null,"));
    }

    /** A host on whose machine probes count. */
    private record Probed(HostFiles files, Optional<Known<Probes>> probes) implements StillHost {
        @Override
        public List<String> tidy() {
            return List.of("removed the probes of another run");
        }

        @Override
        public Optional<Known<Probes>> probes(Set<Integer> threads) {
            return probes;
        }
    }

    private static Cli.Ended live(Optional<Known<Probes>> probes, String... more) throws IOException {
        List<String> words = new ArrayList<>(List.of("watch", "--live", "--interval", "0.1"));
        words.addAll(List.of(more));
        WatchCommand watch =
                new WatchCommand(new Probed(GuestHosts.of("amd-avic").tree(), probes));
        return Cli.run(
                200,
                List.of(new Commands.Named(Commands.Audience.ALL, "watch", "", watch)),
                words.toArray(String[]::new));
    }

    @Test
    void liveCountsTheStagesOfEachVector() throws IOException {
        FakeTracefs tracefs = new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {27, 9, 12})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 12})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, 12});
        assertThat(live(Optional.of(tracefs.begin()), "--json", "--count", "1")
                        .exited(0)
                        .out())
                .contains(
                        "\"stages\":[{\"hop\":\"host-irq\",\"label\":\"host irq\",\"count\":12,",
                        "{\"hop\":\"irqfd\",\"label\":\"irqfd\",\"count\":12,");
        assertThat(tracefs.isEmpty()).isTrue();
        assertThat(live(Optional.of(tracefs.begin()), "--once").exited(0).out())
                .containsPattern("02.0 MSI-X 0 .*  host irq 12, eventfd 12, irqfd 12");
        assertThat(tracefs.isEmpty()).isTrue();
    }

    /** Also of a probe that this kernel does not have. */
    @Test
    void notesOfTheProbesAreOnStandardError() throws IOException {
        FakeTracefs tracefs = new FakeTracefs().refuse("synthetic/kvmirq_4711_123456_4026531836_to_irqfd");
        assertThat(live(Optional.of(tracefs.begin()), "--json", "--count", "2")
                        .exited(0)
                        .err()
                        .lines())
                .satisfiesExactly(
                        line -> assertThat(line).isEqualTo("kvmirq: note: removed the probes of another run"),
                        line -> assertThat(line).startsWith("kvmirq: note: latency is not measured: "));
    }

    @Test
    void liveNeedsProbesAndThisMachine() throws IOException {
        Known<Probes> refused = new Known.Unknown<>("this kernel has no kprobe_events", "another kernel");
        assertThat(live(Optional.of(refused)).exited(ExitCode.COULD_NOT_RUN).err())
                .contains("--live needs probes, and none can be set: this kernel has no kprobe_events");
        assertThat(live(Optional.empty()).exited(ExitCode.COULD_NOT_RUN).err()).contains("tracefs is not mounted");
        assertThat(Cli.run(command("amd-pit", "--live")).exited(ExitCode.USAGE).err())
                .contains("--live watches this machine, but --from reads another host");
    }

    @Test
    void textfileIsWrittenAtTheFirstLook() throws IOException {
        Path file = temporary.resolve("kvmirq.prom");
        Cli.run(command("amd-pit", "--count", "1", "--textfile", file.toString()))
                .exited(0);
        assertThat(file).content().contains("kvmirq_avic_inhibited{guest=\"web\",reason=\"pit_reinj\"} 1\n");
        Cli.Ended refused = Cli.run(command("amd-pit", "--count", "1", "--textfile", "/no/kvmirq.prom"))
                .exited(ExitCode.COULD_NOT_RUN);
        assertThat(refused.err()).containsOnlyOnce("the directory /no does not exist");
        assertThat(refused.out()).as("it does not begin to watch").isEmpty();
    }

    @Test
    void wrongOptionsAreNamed() throws IOException {
        assertThat(Cli.run(command("amd-pit", "--interval", "0")).err()).isNotEmpty();
        assertThat(Cli.run("watch", "--fake", "6.1", "--interval", "soon")
                        .exited(ExitCode.USAGE)
                        .err())
                .contains("--interval 'soon' is not a time: expected 0.1 to 3600 seconds, such as 2");
        assertThat(Cli.run("watch", "--fake", "6.1", "--interval", "3600.001").err())
                .contains("--interval '3600.001' is not a time");
        assertThat(Cli.run("watch", "--fake", "6.1", "--count", "0")
                        .exited(ExitCode.USAGE)
                        .err())
                .contains("--count 0: expected 1 or more intervals");
        assertThat(Cli.run("watch", "--fake", "6.1", "--device", "x")
                        .exited(ExitCode.USAGE)
                        .err())
                .contains("'x' is not a PCI address");
        assertThat(Cli.run(command("amd-pit", "--once", "--device", "0000:7f:00.0"))
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .contains("0000:7f:00.0");
        Path root = Files.createDirectories(temporary.resolve("empty/proc")).getParent();
        assertThat(Cli.run("watch", "--root", root.toString(), "--interval", "3600")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .contains("/proc/interrupts cannot be read");
    }

    @Test
    void barsShowAllRates() {
        assertThat(WatchScreen.sparkline(List.of(0.0, 1.0, 7.0), 3)).isEqualTo("▁▂█");
        assertThat(WatchScreen.sparkline(List.of(7.0, 0.0, 1.0, 0.0, 0.0), 3))
                .as("the greatest of two, the newest with the last")
                .isEqualTo("█▂▁");
        assertThat(WatchScreen.sparkline(List.of(0.0, 0.0), 5)).isEqualTo("▁▁");
        assertThat(List.of(-1.0, 0.0, 12.34, 12_345.6, 123_456.0, 12_345_678.0).stream()
                        .map(WatchScreen::number)
                        .toList())
                .containsExactly("-", "0.0", "12.3", "12346", "123k", "12M");
    }
}
