/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.screens.Metrics;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.Recorded;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code list --textfile}: the numbers of hosts with guests. */
class TextfileTest {
    private static final String INTERRUPTS = "proc/interrupts";

    @TempDir
    private Path temporary;

    private Cli.Ended write(RecordedHost host, Path file) throws IOException {
        return Cli.run("list", "--from", host.archive(temporary).toString(), "--textfile", file.toString());
    }

    private String numbers(RecordedHost host) throws IOException {
        Path file = temporary.resolve("kvmirq.prom");
        assertThat(write(host, file)).isEqualTo(new Cli.Ended(ExitCode.OK, "", ""));
        return Files.readString(file).replaceFirst("version=\"[^\"]*\"", "version=\"...\"");
    }

    private static List<String> series(String numbers) {
        return numbers.lines()
                .filter(line -> !line.startsWith("#"))
                .map(line -> line.substring(0, line.lastIndexOf(' ')))
                .toList();
    }

    @ParameterizedTest
    @ValueSource(strings = {"intel-posted", "amd-pit", "vhost-tasks", "gicv4", "plain-user"})
    void numbersAreAsRecorded(String host) throws IOException {
        String numbers = numbers(GuestHosts.of(host));
        assertThat(numbers).isEqualTo(Recorded.text(TextfileTest.class, "textfile-" + host + ".prom", numbers));
        assertThat(series(numbers)).doesNotHaveDuplicates();
    }

    /** In a directory, since an archive has no files that are denied. */
    @Test
    void unreadableProcessesAreNoPidNamespace() throws IOException {
        Path host = Files.createDirectory(temporary.resolve("host"));
        GuestHosts.of("plain-user").writeTo(host);
        Path file = temporary.resolve("kvmirq.prom");
        Cli.run("list", "--root", host.toString(), "--textfile", file.toString())
                .exited(ExitCode.OK);
        assertThat(Files.readString(file)).contains("kvmirq_unreadable_processes 2\n", "kvmirq_in_pid_namespace 0\n");
    }

    @Test
    void faultIsThereUntilItIsRepaired() throws IOException {
        RecordedHost host =
                PlantedFaultsTest.apply(PlantedFaultsTest.host("posted"), "posted", "{dev}config - 0x4 0x4");
        assertThat(numbers(host))
                .contains(
                        "kvmirq_flaw{guest=\"web\",device=\"0000:00:01.0\",vector=\"MSI-X 0\",hop=\"device\","
                                + "state=\"broken\",flaw=\"device.bus-master-off\",subject=\"device\",weight=\"broken\",span=\"now\",severity=\"critical\"} 1\n")
                .contains("kvmirq_flaws{state=\"broken\"} ");
        assertThat(numbers(PlantedFaultsTest.host("posted")))
                .doesNotContain("bus-master-off")
                .contains("kvmirq_flaws{state=\"broken\"} 0\n");
    }

    /** A count since boot may be over: monitoring names it, and raises nothing. */
    @Test
    void countSinceBootRaisesNothing() throws IOException {
        RecordedHost host = PlantedFaultsTest.apply(
                PlantedFaultsTest.host("posted"), "posted", "{dev}aer_dev_fatal = TOTAL_ERR_FATAL 3");
        assertThat(numbers(host))
                .contains(
                        "flaw=\"function.fatal-errors\",subject=\"device\",weight=\"lossy\",span=\"ever\",severity=\"info\"} 1\n");
        host.writeTo(temporary);
        String root = temporary.toString();
        assertThat(Cli.run("explain", "--all", "--nagios", "--root", root)
                        .exited(0)
                        .out())
                .startsWith("KVMIRQ OK: ")
                .contains("has reported 3 fatal errors (AER) since the host booted");
        assertThat(Cli.run("doctor", "--check", "paths", "--nagios", "--root", root)
                        .exited(0)
                        .out())
                .startsWith("KVMIRQ OK: ");
        assertThat(Cli.run("explain", "--all", "--strict", "--root", root).exitCode())
                .isEqualTo(38);
    }

    /** Monitoring hears of the doubt of now, and not of an old count beside it. */
    @Test
    void countSinceBootHidesNoFlawOfNow() throws IOException {
        RecordedHost host = PlantedFaultsTest.apply(
                PlantedFaultsTest.host("posted"), "posted", "{dev}aer_dev_fatal = TOTAL_ERR_FATAL 3; {dev}enable = 0");
        assertThat(numbers(host))
                .contains(
                        "flaw=\"device.disabled\",subject=\"device\",weight=\"lossy\",span=\"now\",severity=\"warning\"} 1\n")
                .doesNotContain("function.fatal-errors");
        host.writeTo(temporary);
        assertThat(Cli.run("explain", "--all", "--nagios", "--root", temporary.toString())
                        .exited(1)
                        .out())
                .startsWith("KVMIRQ WARNING: all 5 interrupts of guest web are in doubt at the device: the host has"
                        + " disabled");
    }

    @Test
    void doubtfulVectorThatIsNotPostedHasOneFlaw() throws IOException {
        RecordedHost host = GuestHosts.of("amd-pit").remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs/28");
        assertThat(numbers(host))
                .contains("kvmirq_flaws{state=\"doubtful\"} 1\n")
                .containsPattern("kvmirq_flaw\\{.*,vector=\"MSI-X 1\",.*,state=\"doubtful\",.*} 1\n")
                .contains(",vector=\"MSI-X 1\"} 0\n");
    }

    @Test
    void nameOfAGuestIsEscaped() throws IOException {
        RecordedHost host = GuestHosts.guest(
                GuestHosts.of("amd-pit"), "02", "/usr/bin/qemu-system-x86_64 -name a\"b\\c\nd\033[1m}{");
        assertThat(numbers(host)).contains("kvmirq_guest_vcpus{guest=\"a\\\"b\\\\c\\nd\033[1m}{\"} 2\n");
    }

    /** The process of a VMM that was started again is another, and its guest the same. */
    @Test
    void seriesOutliveTheProcess() throws IOException {
        String before = numbers(GuestHosts.of("amd-pit"));
        Path root = Files.createDirectory(temporary.resolve("root"));
        GuestHosts.of("amd-pit").writeTo(root);
        Files.move(root.resolve("proc/100"), root.resolve("proc/4711"));
        Path file = temporary.resolve("again.prom");
        Cli.run("list", "--root", root.toString(), "--textfile", file.toString())
                .exited(0);
        List<String> after = series(Files.readString(file));
        assertThat(after)
                .containsAll(series(before).stream()
                        .filter(sample -> !sample.contains("kvmirq_info"))
                        .filter(sample -> !sample.startsWith("kvmirq_flaw{"))
                        .toList());
    }

    /** A total falls only when the driver disables all vectors, so a rate of it has no false storm. */
    @Test
    void vectorThatIsDisarmedStaysInTheTotal() throws IOException {
        RecordedHost host = GuestHosts.of("amd-pit");
        String rows = host.tree().text(INTERRUPTS).orElseThrow();
        host.put(INTERRUPTS, rows.replaceAll("( \\d+: +)\\d+(?=.*vfio-msix)", "$17") + "\n");
        String total = line(numbers(host), "kvmirq_host_irqs_total{");
        assertThat(total).endsWith(" 35");
        rows = host.tree().text(INTERRUPTS).orElseThrow();
        host.put(INTERRUPTS, rows.replaceFirst("vfio-msix\\[1]\\S+", "") + "\n");
        assertThat(host.tree().text(INTERRUPTS).orElseThrow()).doesNotContain("vfio-msix[1]");
        assertThat(line(numbers(host), "kvmirq_host_irqs_total{")).isEqualTo(total);
    }

    private static String line(String numbers, String begin) {
        return numbers.lines()
                .filter(line -> line.startsWith(begin))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void thousandFlawedVectorsHaveFewerThan300Series() throws IOException {
        RecordedHost host = PlantedFaultsTest.apply(GuestHosts.of("amd-pit"), "remapped", "{dev}config - 0x4 0x4");
        StringBuilder rows = new StringBuilder();
        for (int vector = 0; vector < 1000; vector++) {
            rows.append(String.format(
                    " %d:  10  0  IR-PCI-MSIX-0000:00:02.0 %d-edge vfio-msix[%d](0000:00:02.0)%n",
                    100 + vector, vector, vector));
        }
        host.put(INTERRUPTS, "  CPU0 CPU1\n" + rows);
        String numbers = numbers(host);
        assertThat(series(numbers)).hasSizeLessThan(300);
        assertThat(series(numbers))
                .filteredOn(sample -> sample.startsWith("kvmirq_flaw{"))
                .hasSize(Metrics.MOST_VECTORS);
        assertThat(numbers)
                .contains("\nkvmirq_flaws{state=\"broken\"} 1000\n")
                .contains("\nkvmirq_flawed_vectors_left_out 936\n")
                .contains("posted=\"no\"} 1000\n");
        RecordedHost doubtful = PlantedFaultsTest.apply(
                        GuestHosts.of("amd-pit"), "remapped", "{dev}config + 0xa2 0x3ff")
                .put(INTERRUPTS, "  CPU0 CPU1\n" + rows);
        doubtful.put("proc/irq/1099/spurious", "count 1\nunhandled 99901\nlast_unhandled 1 ms\n");
        assertThat(series(numbers(doubtful)))
                .as("the broken one has its series, though 999 are in doubt")
                .filteredOn(sample -> sample.contains("state=\"broken\",flaw="))
                .singleElement()
                .asString()
                .contains("vector=\"MSI-X 999\"");
    }

    @Test
    void fileIsReplacedWholeAndReadableByAll() throws IOException {
        Path file = Files.writeString(temporary.resolve("kvmirq.prom"), "old");
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(err, true, StandardCharsets.UTF_8);
        Terminal terminal = new Terminal(stream, stream, false, Terminal.DEFAULT_COLUMNS, 0);
        assertThat(NewFile.replace(file, terminal, out -> {
                    out.write(new byte[10_000]);
                    throw new IOException("No space left on device");
                }))
                .isFalse();
        assertThat(err.toString(StandardCharsets.UTF_8))
                .isEqualTo("kvmirq: cannot write " + file
                        + ": the disk is full; free space there, or choose a file on another disk\n");
        assertThat(file).hasContent("old");
        try (Stream<Path> left = Files.list(temporary)) {
            assertThat(left).containsExactly(file);
        }
        numbers(GuestHosts.of("amd-pit"));
        assertThat(Files.readString(file)).startsWith("# HELP kvmirq_info ").endsWith("\n");
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
                .isEqualTo("rw-r--r--");
    }

    @Test
    void fileThatCannotBeWrittenIsNamed() throws IOException, InterruptedException {
        RecordedHost host = GuestHosts.of("amd-pit");
        assertThat(write(host, temporary).exited(ExitCode.COULD_NOT_RUN).err())
                .startsWith("kvmirq: cannot write " + temporary + ": it is a directory; ");
        Path pipe = temporary.resolve("pipe");
        Program.output(List.of("mkfifo", pipe.toString()));
        assertThat(write(host, pipe).exited(ExitCode.COULD_NOT_RUN).err())
                .isEqualTo("kvmirq: cannot write " + pipe + ": it is not a regular file; choose another file\n");
        Path link = Files.createSymbolicLink(temporary.resolve("link"), temporary.resolve("file"));
        assertThat(write(host, link).exited(ExitCode.COULD_NOT_RUN).err()).contains("it is not a regular file");
        assertThat(link).isSymbolicLink();
        assertThat(write(host, temporary.resolve("no/kvmirq.prom"))
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .contains("the directory " + temporary.resolve("no") + " does not exist");
        assertThat(Cli.run("list", "--fake", "6.1", "--textfile", "x.prom", "--all")
                        .exited(ExitCode.USAGE)
                        .err())
                .contains("--textfile writes the metrics of all guests, and --all prints something else");
    }
}
