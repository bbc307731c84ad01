/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.facts.Sight;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Hosts with guests, and what is explained of their devices, letter by letter. */
class ExplainCommandTest {
    private static final String AMD = "0000:00:02.0";

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @CsvSource({
        "intel-posted,         0000:00:01.0, 0",
        "intel-nopost,         0000:00:01.0, 0",
        "intel-without-pi,     0000:00:01.0, 0",
        "amd-avic,             0000:00:02.0, 0",
        "amd-pit,              0000:00:02.0, 17",
        "amd-legacy,           0000:00:02.0, 0",
        "nested-without-iommu, 0000:00:02.0, 10",
        "gicv3,                0000:00:01.0, 0",
        "gicv4,                0000:00:01.0, 0",
        "intx-shared,          0000:00:02.0, 0",
        "intx-exclusive,       0000:00:02.0, 0",
        "group-not-viable,     0000:00:02.0, 10",
        "plain-user,           0000:00:02.0, 0"
    })
    void textIsAsRecorded(String host, String device, int exitCode) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        GuestHosts.of(host).writeTo(root);
        Cli.Ended printed = Cli.run("explain", "--root", root.toString(), device);
        assertThat(printed.out())
                .isEqualTo(Recorded.text(ExplainCommandTest.class, "explain-" + host + ".txt", printed.out()));
        assertThat(printed.err()).isEmpty();
        assertThat(printed.exitCode()).isEqualTo(exitCode);
    }

    /** A capture has what explain reads, even without the guest's name. */
    @ParameterizedTest
    @CsvSource({
        "intel-posted, 0000:00:01.0, false",
        "amd-pit, 0000:00:02.0, false",
        "gicv4, 0000:00:01.0, false",
        "virtio, guest-1, true"
    })
    void captureIsExplainedAsItsHost(String host, String question, boolean anonymous) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        Path archive = temporary.resolve("archive.zip");
        try (OutputStream out = Files.newOutputStream(archive)) {
            Archive.write(Capture.take(GuestHosts.of(host).writeTo(root), Capture::analysis, anonymous), out);
        }
        assertThat(Cli.run("explain", "--from", archive.toString(), question)
                        .out()
                        .replace("guest-1", "web"))
                .isEqualTo(Cli.golden(ExplainCommandTest.class, "explain-" + host + ".txt"));
    }

    /** A path's last line is said of it alone; on a screen that scrolled, the verdict is the last line, too. */
    @Test
    void verdictOfAnotherGuestIsNotThatOfAPath() throws IOException {
        RecordedHost host = PlantedFaultsTest.host("posted")
                .put("proc/300/comm", "db\n")
                .put("proc/300/status", "State:\tT (stopped)\n")
                .link("proc/300/fd/4", "anon_inode:kvm-vm");
        host.writeTo(temporary);
        List<String> lines = onTerminal(24);
        assertThat(lines.get(0)).isEqualTo("guest db is stopped at the VMM: process 300 is stopped by a signal");
        assertThat(lines)
                .contains("first broken link: VMM (exit code 19)")
                .last()
                .isEqualTo(lines.get(1));
        assertThat(lines.indexOf("first broken link: VMM (exit code 19)"))
                .isGreaterThan(lines.indexOf("db (process 300)  other interrupts"));
        assertThat(lines.get(lines.indexOf("db (process 300)  other interrupts") - 1))
                .startsWith("nothing visible is broken (");
        assertThat(onTerminal(lines.size())).hasSize(lines.size() - 2).last().isNotEqualTo(lines.get(1));
        assertThat(onTerminal(0)).hasSize(lines.size() - 2);
    }

    private List<String> onTerminal(int rows) {
        return Cli.onRows(rows, "explain", "--all", "--root", temporary.toString())
                .exited(19)
                .out()
                .lines()
                .toList();
    }

    /** Covers both commands whose sentences are long. */
    @Test
    void linesFitOnATerminalAndKeepTheirIndent() throws IOException {
        HostFacts host = new HostFacts(GuestHosts.of("amd-pit").tree());
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
        Terminal terminal = new Terminal(stream, stream, false, 100, 0, 100, 0, "");
        List<InterruptPath> chains =
                DeviceChains.read(host, host.pci(PciAddress.parse(AMD)).orElseThrow());
        Verdict verdict = Verdict.judge(chains, List.of(), List.of());
        ExplainText text = new ExplainText(terminal);
        text.verdicts(ExplainText.headlines(chains, List.of(), verdict));
        text.print(chains, verdict);
        String explained = out.toString(StandardCharsets.UTF_8);
        assertThat(explained.replaceAll("\\s+", " "))
                .isEqualTo(Cli.golden(ExplainCommandTest.class, "explain-amd-pit.txt")
                        .replaceAll("\\s+", " "));
        assertThat(explained.lines()).allMatch(line -> line.length() <= 100);
        assertThat(explained)
                .contains("\n                            do: start QEMU", "\n                              ");

        out.reset();
        DoctorText.print(
                Doctor.examine(host, EnumSet.of(Check.AVIC_INHIBITS, Check.LIMITS)), false, true, List.of(), terminal);
        assertThat(out.toString(StandardCharsets.UTF_8).lines()).allMatch(line -> line.length() <= 100);
        assertThat(out.toString(StandardCharsets.UTF_8))
                .contains("\n         VMM flag: start QEMU", "\n           name=");
    }

    /** Absent, refused, locked down and hidden are four things, and a program need not read the sentence to tell them. */
    @Test
    void whyALinkIsNotShownHasAType() throws IOException {
        String power = "sys/bus/pci/devices/" + AMD + "/power_state";
        assertThat(unseen(GuestHosts.of("amd-avic").remove(power), Hop.DEVICE)).contains(Known.Reason.ABSENT);
        assertThat(unseen(GuestHosts.of("amd-avic").remove(power).deny(power), Hop.DEVICE))
                .contains(Known.Reason.REFUSED);
        RecordedHost container = GuestHosts.of("amd-avic").remove("proc/100");
        assertThat(unseen(container, Hop.VMM)).isEmpty();
        assertThat(unseen(container.link("proc/self/ns/pid", "pid:[4026532700]"), Hop.VMM))
                .containsExactly(Known.Reason.HIDDEN);
    }

    /** Integrity, which Secure Boot sets, leaves kernel memory and tracefs to root. */
    @ParameterizedTest
    @CsvSource({
        "none [integrity] confidentiality, sys/kernel/debug/kvm, LOCKED_DOWN",
        "none [integrity] confidentiality, proc/kcore, REFUSED",
        "none [integrity] confidentiality, sys/kernel/tracing/instances, REFUSED",
        "none integrity [confidentiality], proc/kcore, LOCKED_DOWN",
        "none integrity [confidentiality], sys/kernel/tracing, LOCKED_DOWN",
        "none integrity [confidentiality], sys/kernel/debug/kvm, LOCKED_DOWN",
        "[none] integrity confidentiality, sys/kernel/debug/kvm, REFUSED"
    })
    void lockdownRefusesWhatItsModeHides(String mode, String path, Known.Reason reason) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic").put("sys/kernel/security/lockdown", mode + "\n");
        assertThat(Sight.read(host.tree()).<String>refused(path).reason()).isEqualTo(reason);
    }

    private static List<Known.Reason> unseen(RecordedHost recorded, Hop<?> hop) {
        HostFacts host = new HostFacts(recorded.tree());
        PciDevice device = host.pci(PciAddress.parse(AMD)).orElseThrow();
        return DeviceChains.read(host, device, 0).link(hop).orElseThrow().unseen();
    }

    private static Link broken(Hop<?> hop) {
        return Link.of(hop, Link.State.BROKEN, Evidence.observed("x"), Optional.empty(), "y", List.of());
    }

    /** Help and page promise the exit code of each hop that a link can break at, and no other. */
    @Test
    void exitCodesAreThoseOfHopsThatBreak() throws IOException {
        String help = Cli.run("help", "explain").exited(0).out();
        String page = Files.readString(Machine.root().resolve("src/docs/command.md"));
        int begin = page.indexOf("Exit codes:");
        String codes = page.substring(begin, page.indexOf("\n```\n", begin));
        List<Hop<?>> breaking = new ArrayList<>(Hop.all());
        breaking.remove(Hop.GUEST_VECTOR);
        for (Hop<?> hop : breaking) {
            assertThat(help).containsOnlyOnce("\n   " + ExitCode.of(hop) + "  ");
            assertThat(codes)
                    .contains(
                            hop == Hop.POSTING
                                    ? " 17  explain: no link"
                                    : ExitCode.of(hop) + "  explain: the first broken link is the " + hop.label());
            assertThat(broken(hop).hop()).isEqualTo(hop);
        }
        assertThat(help).doesNotContain("guest vector\n").doesNotContain("\n   15 ");
        assertThat(codes).doesNotContain("guest vector").doesNotContain("15");
        assertThatThrownBy(() -> broken(Hop.GUEST_VECTOR))
                .hasMessage("a guest vector is whole or not shown, and no exit code says more");
    }
}
