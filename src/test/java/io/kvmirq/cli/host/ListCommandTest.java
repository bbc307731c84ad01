/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Hosts with guests, and the table of their vectors, letter by letter. */
class ListCommandTest {
    @TempDir
    private Path temporary;

    private Cli.Ended of(RecordedHost host, String... arguments) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        host.writeTo(root);
        List<String> all = new ArrayList<>(List.of("list", "--root", root.toString()));
        all.addAll(List.of(arguments));
        return Cli.run(all.toArray(String[]::new));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "intel-posted",
                "intel-nopost",
                "amd-avic",
                "amd-pit",
                "gicv4",
                "intx-shared",
                "group-not-viable",
                "plain-user"
            })
    void tableIsAsRecorded(String host) throws IOException {
        Cli.Ended printed = of(GuestHosts.of(host), "--all").exited(0);
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out())
                .isEqualTo(Recorded.text(ListCommandTest.class, "list-" + host + ".txt", printed.out()));
    }

    @Test
    void threadsThatNoFileShowsAreNotCounted() throws IOException {
        RecordedHost host =
                GuestHosts.of("gicv4").remove("proc/100/task/101/stat").remove("proc/100/task/102/stat");
        assertThat(of(host).exited(0).out())
                .contains("arm    100      2      5        5\n")
                .contains(
                        "- running, halted, stopped: no file shows the vCPU threads of 1 guest; give vCPU threads names");
    }

    /** The same hosts, a row for each guest. */
    @ParameterizedTest
    @ValueSource(strings = {"vhost-kernel-threads", "vhost-tasks", "gicv4", "plain-user", "group-not-viable"})
    void guestsAreAsRecorded(String host) throws IOException {
        Cli.Ended printed = of(GuestHosts.of(host)).exited(0);
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out())
                .isEqualTo(Recorded.text(ListCommandTest.class, "guests-" + host + ".txt", printed.out()));
    }

    @Test
    void jsonHasAnObjectForEachGuest() throws IOException {
        Cli.Ended printed = of(GuestHosts.of("vhost-tasks"), "--json").exited(0);
        assertThat(printed.out())
                .isEqualTo(Recorded.text(ListCommandTest.class, "guests-vhost-tasks.json", printed.out()));
    }

    @Test
    void twoHundredGuestsAreAtMost210Lines() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        for (int guest = 0; guest < 200; guest++) {
            String process = "proc/" + (5000 + guest) + "/";
            host.put(process + "comm", "qemu-system-x86\n")
                    .put(process + "cmdline", "qemu\0-name\0vm" + guest + "\0")
                    .link(process + "fd/3", "anon_inode:kvm-vm")
                    .link(process + "fd/4", "anon_inode:kvm-vcpu:0");
        }
        assertThat(of(host).exited(0).out().lines())
                .hasSizeLessThanOrEqualTo(210)
                .anyMatch(line -> line.startsWith("vm199"));
    }

    @Test
    void jsonHasARowForEachVector() throws IOException {
        Cli.Ended printed = of(GuestHosts.of("amd-pit"), "--all", "--json").exited(0);
        assertThat(printed.out()).isEqualTo(Recorded.text(ListCommandTest.class, "list-amd-pit.json", printed.out()));
    }

    @Test
    void tableIsThatOfAGuestOrADevice() throws IOException {
        RecordedHost host = GuestHosts.of("amd-pit");
        String all = of(host, "--all").out();
        for (String[] option : List.of(
                new String[] {"--vm", "web"}, new String[] {"--vm", "100"}, new String[] {"--device", "00:02.0"})) {
            assertThat(of(host, option)).isEqualTo(new Cli.Ended(ExitCode.OK, all, ""));
        }
        assertThat(of(host, "--device", "00:03.0"))
                .isEqualTo(new Cli.Ended(ExitCode.OK, "VFIO has armed no device vectors\n", ""));
        assertThat(of(host, "--vm", "mail"))
                .isEqualTo(new Cli.Ended(
                        ExitCode.COULD_NOT_RUN,
                        "",
                        "kvmirq: no guest 'mail' is visible: use one of 'web' (process 100), or a process id\n"));
        assertThat(of(host, "--device", "00:02.7")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .startsWith("kvmirq: there is no PCI device 0000:00:02.7; the closest on its bus are 0000:00:03.0");
        assertThat(of(host, "--device", "x").exited(ExitCode.USAGE).err()).contains("'x' is not a PCI address");
    }

    @Test
    void namesOfAHostStayText() throws IOException {
        RecordedHost host = GuestHosts.guest(
                GuestHosts.of("amd-pit"), "02", "/usr/bin/qemu-system-x86_64 -name \033]0;" + "x".repeat(99));
        for (String[] option : List.of(new String[] {}, new String[] {"--all"})) {
            assertThat(of(host, option).out())
                    .contains("?]0;xxxxxxxxxxxxxxxxxxxx...  ")
                    .doesNotContain("\033");
        }
    }

    @Test
    void hostWithoutInterruptsIsNotLookedAt() throws IOException {
        assertThat(of(GuestHosts.of("amd-pit").remove("proc/interrupts")))
                .isEqualTo(new Cli.Ended(
                        ExitCode.COULD_NOT_RUN,
                        "",
                        "kvmirq: /proc/interrupts cannot be read, or is empty, as in a copy made by tar:"
                                + " copy it with cat\n"));
    }

    @Test
    void severalCapturesAreOneTableWithFlawedRowsFirst() throws IOException {
        Path whole = Files.move(GuestHosts.of("intel-posted").archive(temporary), temporary.resolve("h1.zip"));
        Path flawed = Files.move(
                PlantedFaultsTest.apply(GuestHosts.of("amd-avic"), "remapped", "{dev}config - 0x4 0x4")
                        .archive(temporary),
                temporary.resolve("h2.zip"));
        Cli.Ended ended = Cli.run("list", "--from", whole.toString(), flawed.toString());
        assertThat(ended.exited(0).out().lines())
                .hasSize(12)
                .startsWith(
                        "2 hosts, 10 vectors, 5 with a flaw; 'kvmirq explain BDF --from FILE' explains a flaw",
                        "host    host irq  device        vector   guest  count  CPU  posted  flaw or reason not"
                                + " posted");
        assertThat(ended.out().lines().skip(2).limit(5))
                .allMatch(line -> line.startsWith("h2.zip  ")
                        && line.matches(".*  (device broken: bus mastering is off .*|as above)"));
        assertThat(ended.out().lines().skip(7).limit(5)).allMatch(line -> line.startsWith("h1.zip  "));
        String from = whole.toString();
        assertThat(Cli.run("list", "--from", from, flawed.toString(), "--vm", "mail")
                        .out())
                .startsWith("2 hosts, 0 vectors, 0 with a flaw");
        Path stopped = Files.move(
                GuestHosts.of("virtio")
                        .put("proc/100/status", "State:\tT (stopped)\n")
                        .archive(temporary),
                temporary.resolve("h3.zip"));
        List<String> lines = Cli.run("list", "--from", from, stopped.toString())
                .out()
                .lines()
                .toList();
        assertThat(lines.get(0)).startsWith("2 hosts, 5 vectors, 0 with a flaw, 1 VMM with a flaw; ");
        assertThat(lines.get(2))
                .startsWith("h3.zip  ")
                .contains("  web  ", "  VMM broken: process 100 is stopped by a signal");
        assertThat(Cli.run("list", "--from", from, stopped.toString(), "--device", "0000:00:01.0")
                        .out())
                .startsWith("2 hosts, 5 vectors, 0 with a flaw;");
        Cli.Ended partly = Cli.run(
                "list",
                "--from",
                from,
                Files.writeString(temporary.resolve("x"), "x").toString());
        assertThat(partly.exited(ExitCode.COULD_NOT_RUN).err()).contains("x is not a capture");
        assertThat(partly.out()).contains("1 hosts, 5 vectors");
        assertThat(Cli.run("list", "--from", from, from, "--json")
                        .exited(ExitCode.USAGE)
                        .err())
                .contains("--json works on one host only: use one archive");
        assertThat(Cli.run("list", from).exited(ExitCode.USAGE).err())
                .contains("is not an option: --from must come" + " before");
    }

    /** A hint names the host that was asked, and this machine with --live. */
    @Test
    void hintsRepeatTheHost() throws IOException {
        Path copy = temporary.resolve("copy$1");
        GuestHosts.of("vhost-tasks").writeTo(copy);
        String from = " --from " + copy;
        assertThat(Cli.run("list", "--from", copy.toString()).exited(0).out())
                .contains("'kvmirq list --vm NAME" + from + "' lists a guest's vectors, and 'kvmirq explain --vm NAME"
                        + from + "' shows their paths");
        assertThat(Cli.run("explain", "--vm", "100", "--from", copy.toString()).out())
                .contains("for MSIs that KVM delivers, run kvmirq explain --vm 100 --live 10\n");
        assertThat(Cli.run("doctor", "--fake", "6.1", "--check", "vfio").out())
                .contains("'kvmirq vfio --fake 6.1' prints the commands");
        assertThat(Cli.run("vfio", "--fake", "6.1", "0000:3d:00.0").out())
                .contains("'kvmirq vfio --fake 6.1' prints the commands");
        assertThat(Cli.run("explain", "--fake", "6.1", "0000:ff:00.0").err())
                .endsWith("'kvmirq vfio --fake 6.1' lists the devices\n");
    }
}
