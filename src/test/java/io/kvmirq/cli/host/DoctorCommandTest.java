/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Hosts, and what {@code kvmirq doctor} prints of them, letter by letter. */
class DoctorCommandTest {
    private static final String VM = "proc/4242/";

    @TempDir
    private Path temporary;

    private Cli.Ended of(RecordedHost host, String... arguments) throws IOException {
        Path root = Files.createTempDirectory(temporary, "root");
        host.writeTo(root);
        List<String> all = new ArrayList<>(List.of("doctor", "--root", root.toString()));
        all.addAll(List.of(arguments));
        return Cli.run(all.toArray(String[]::new));
    }

    /** A QEMU with one vCPU and its options. */
    private static RecordedHost withQemu(RecordedHost host, String... options) {
        return host.put(VM + "comm", "qemu-system-x86\n")
                .put(VM + "stat", GuestHosts.stat(4242, "qemu-system-x86", 'S', 0x400040, 0))
                .put(VM + "cmdline", "/usr/bin/qemu-system-x86_64\0" + String.join("\0", options) + "\0")
                .link(VM + "fd/12", "anon_inode:kvm-vm")
                .link(VM + "fd/13", "anon_inode:kvm-vcpu:0");
    }

    static RecordedHost host(String name) throws IOException {
        String legacy = "root=/dev/nvme0n1p2 ro amd_iommu_intr=legacy\n";
        return switch (name) {
            case "intel-nopost" ->
                RecordedHost.of("intel-posted")
                        .put("proc/cmdline", "intel_iommu=on intremap=nopost\n")
                        .put("sys/module/kvm_intel/parameters/enable_device_posted_irqs", "N\n");
            case "amd-pit" -> withQemu(RecordedHost.of("amd-avic"), "-name", "web", "-machine", "q35,accel=kvm");
            case "amd-split" ->
                withQemu(RecordedHost.of("amd-avic"), "-name", "web", "-machine", "q35,kernel-irqchip=split");
            case "amd-legacy" -> RecordedHost.of("amd-avic").put("proc/cmdline", legacy);
            case "arm64-gicv4" ->
                RecordedHost.of("arm64-6.12")
                        .put("proc/cmdline", "kvm-arm.vgic_v4_enable=1\n")
                        .put("proc/interrupts", """
                             13:   3752   3581     GICv3  26 Level     arch_timer
                             25:      0      0  GICv4-vpe   0 Edge      vcpu
                             40:      7      0  ITS-PCI-MSI-0000:00:01.0   0 Edge      vfio-msix[0](0000:00:01.0)
                            """);
            case "not-viable" ->
                RecordedHost.of("intel-posted")
                        .link("sys/kernel/iommu_groups/15/devices/0000:3b:00.1", "../../0000:3b:00.1")
                        .link("sys/bus/pci/devices/0000:3b:00.1/driver", "../../drivers/ice")
                        .put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
            default -> RecordedHost.of(name);
        };
    }

    @ParameterizedTest
    @CsvSource({
        "intel-posted, 0",
        "intel-nopost, 0",
        "intel-6.1,    0",
        "amd-avic,     0",
        "amd-pit,      0",
        "amd-split,    0",
        "amd-legacy,   0",
        "nested-pvm,   1",
        "arm64-6.12,   0",
        "arm64-gicv4,  0",
        "not-viable,   1"
    })
    void textIsAsRecorded(String host, int exitCode) throws IOException {
        Cli.Ended printed = of(host(host));
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out())
                .isEqualTo(Recorded.text(DoctorCommandTest.class, "doctor-" + host + ".txt", printed.out()));
        assertThat(printed.exitCode()).isEqualTo(exitCode);
    }

    @Test
    void everyCheckIsInTheTableOfThePage() throws IOException {
        List<String> firstColumns = Files.readAllLines(Machine.root().resolve("src/docs/command.md")).stream()
                .filter(line -> line.startsWith("| `"))
                .map(line -> line.split("\\|", -1)[1])
                .toList();
        assertThat(Check.values()).allSatisfy(check -> assertThat(firstColumns)
                .as(check.id())
                .anyMatch(column -> column.contains("`" + check.id() + "`")));
    }

    /** As a plain user sees it: neither /dev/kvm nor debugfs nor the processes of others. */
    @Test
    void aPlainUserIsToldWhichLinesNeedRoot() throws IOException {
        RecordedHost host = host("amd-pit")
                .deny("dev/kvm")
                .deny(VM + "fd")
                .deny("sys/kernel/debug")
                .put(
                        "proc/self/limits",
                        "Max open files   1024   4096   files\nMax locked memory 8388608 8388608 bytes\n")
                .put("proc/self/status", "CapEff:\t0000000000000000\n");
        Set<Check> files = EnumSet.complementOf(EnumSet.of(Check.BACKENDS));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
        List<Finding> findings = Doctor.examine(new HostFacts(host.tree()), files);
        DoctorText.print(
                findings, false, true, List.of(), new Terminal(stream, stream, false, Terminal.DEFAULT_COLUMNS, 0));
        String printed = out.toString(StandardCharsets.UTF_8);
        assertThat(printed)
                .isEqualTo(Recorded.text(DoctorCommandTest.class, "doctor-plain-user.txt", printed))
                .endsWith("run as root to check these in full: kvm, avic-inhibits, paths, limits\n");
        assertThat(DoctorCommand.exitCode(findings, false)).isEqualTo(ExitCode.FAILED);
    }

    @Test
    void directoryWithoutAHostIsRefused() {
        assertThat(Cli.run("doctor", "--root", temporary.resolve("none").toString())
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: --root is '" + temporary.resolve("none")
                        + "': expected a directory with proc or sys in it\n");
    }

    @Test
    void jsonHasFieldsAndNoSentenceToParse() throws IOException {
        Cli.Ended printed = of(host("amd-pit"), "--json");
        assertThat(printed.exited(0).out())
                .isEqualTo(Recorded.text(DoctorCommandTest.class, "doctor-amd-pit.json", printed.out()))
                .startsWith("{\"schema\":2,\"command\":\"doctor\",");
    }

    private Cli.Ended acknowledging(String text, String... arguments) throws IOException {
        Path file = Files.writeString(temporary.resolve("acknowledged"), text);
        List<String> all = new ArrayList<>(List.of(arguments));
        all.addAll(List.of("--acknowledged", file.toString()));
        return of(host("intel-nopost"), all.toArray(String[]::new));
    }

    @Test
    void acknowledgedFindingPassesUntilItsLastDay() throws IOException {
        String known = "# of this model\nposting.vt-d | 9999-12-31 | old IOMMU\npaths.unposted | 9999-12-31 | same\n";
        String reason = of(host("intel-nopost"), "--json", "--check", "posting")
                .out()
                .replaceAll("(?s).*\"check\":\"posting\".*?\"reason\":\"([^\"]*)\".*", "$1");
        known = known.replace("vt-d", reason);
        Cli.Ended ended = acknowledging(known, "--check", "posting");
        assertThat(ended.exited(0).out())
                .startsWith("PASS     posting            acknowledged until 9999-12-31 (old IOMMU): ")
                .hasLineCount(1);
        assertThat(acknowledging(known, "--check", "posting", "--nagios")
                        .exited(0)
                        .out())
                .isEqualTo("KVMIRQ OK: posting\n");
        assertThat(acknowledging(known.replace("9999", "2020"), "--check", "posting", "--nagios")
                        .exited(1)
                        .out())
                .startsWith("KVMIRQ WARNING: posting: ")
                .endsWith("; its acknowledgement ended on 2020-12-31 (old IOMMU)\n");
        assertThat(acknowledging("posting.gone | 9999-12-31 | x\n", "--check", "posting", "--nagios")
                        .exited(1)
                        .out())
                .contains("; acknowledged, but not found: posting.gone (remove it from ");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "posting | 2027-01-01 | x; :1: expected CHECK.REASON | LAST-DAY | WHY, such as 'iommu.off",
                "posting.x | 2027-01-01; :1: expected CHECK.REASON",
                "posting.x | 2027-13-01 | x; :1: expected a day such as 2027-06-30, got '2027-13-01'",
                "post.x | 2027-01-01 | x; :1: the check 'post' is not one of kvm,"
            })
    void wrongAcknowledgementIsNamedByItsLine(String line, String sentence) throws IOException {
        assertThat(acknowledging(line).exited(ExitCode.USAGE).err())
                .startsWith("kvmirq: ")
                .contains(sentence);
        assertThat(of(host("intel-nopost"), "--acknowledged", "/none")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: cannot read /none: no such file\n");
    }

    /** A command line with few options is not parsed by picocli. */
    @Test
    void shortCommandLineMakesTheSameChecks() {
        assertThat(checks("doctor", "--json"))
                .containsExactlyElementsOf(checks("doctor", "--json", "--except", "kernel-memory"));
        assertThat(Cli.run("doctor", "--check", "log").out())
                .isEqualTo(Cli.run("doctor", "--check=log").out());
    }

    private static List<String> checks(String... words) {
        return Pattern.compile("\"check\":\"([a-z-]+)\"")
                .matcher(Cli.run(words).out())
                .results()
                .map(found -> found.group(1))
                .toList();
    }

    /** The usual command lines are read without the parser, which knows them too. */
    @Test
    void theParserIsNotNeededAndAnswersTheSame() {
        Cli.Ended fast = Cli.run("doctor", "-q", "--strict", "--check", "irqchip", "--check", "nested");
        Cli.Ended parsed = Cli.run("doctor", "--quiet", "--strict", "--check=irqchip", "--check=nested");
        assertThat(fast).isEqualTo(parsed);
        assertThat(Cli.run("doctor", "--check", "backends").out())
                .startsWith("PASS     backends           usable: ")
                .contains("; native files go to /");
        assertThat(Cli.run("doctor", "--check").exited(ExitCode.USAGE).err()).contains("Missing required parameter");
        assertThat(Cli.run("doctor", "--quite").exited(ExitCode.USAGE).err()).contains("Did you mean --quiet?");
    }
}
