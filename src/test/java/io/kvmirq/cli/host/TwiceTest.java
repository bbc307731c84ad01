/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A count since boot is of now if it changes between two looks. */
class TwiceTest {
    private static final String DEVICE = "0000:00:01.0";
    private static final String AER = "sys/bus/pci/devices/" + DEVICE + "/aer_dev_fatal";
    private static final String STAT = "sys/fs/cgroup/machine.slice/machine-qemu-1-web.scope/cpu.stat";
    private static final String THROTTLED =
            "{scope}cpu.max = 1000 100000; {scope}cpu.stat = nr_periods 1000\\nnr_throttled 950";

    @TempDir
    private Path temporary;

    private void write(String changes) throws IOException {
        PlantedFaultsTest.apply(PlantedFaultsTest.host("posted"), "posted", changes)
                .writeTo(temporary);
    }

    private static List<Link> look(HostFacts host) {
        return DeviceChains.read(host, host.pci(PciAddress.parse(DEVICE)).orElseThrow(), 0).links().stream()
                .filter(link -> !link.flaws().isEmpty())
                .toList();
    }

    @ParameterizedTest
    @CsvSource({"1004, 950, EVER, WHOLE", "1004, 953, NOW, DOUBTFUL"})
    void quotaThatIsUsedUpNowIsInDoubt(int periods, int waited, Flaw.Span span, Link.State state) throws IOException {
        write(THROTTLED);
        HostFacts first = new HostFacts(HostFiles.at(temporary));
        assertThat(look(first)).extracting(Link::state).containsExactly(Link.State.WHOLE);
        Files.writeString(temporary.resolve(STAT), "nr_periods " + periods + "\nnr_throttled " + waited + "\n");
        Link again = look(first.again()).get(0);
        assertThat(again.state()).isEqualTo(state);
        assertThat(again.flaws()).extracting(Flaw::rule, Flaw::span).containsExactly(tuple("cgroup.throttled", span));
    }

    /** 30 000 of 900 000 periods are too few for a doubt, but more of them now are one. */
    @Test
    void quotaThatIsUsedUpNowOnAnOldGroupIsInDoubt() throws IOException {
        write(THROTTLED.replace("1000\\nnr_throttled 950", "900000\\nnr_throttled 30000"));
        HostFacts first = new HostFacts(HostFiles.at(temporary));
        assertThat(look(first)).isEmpty();
        assertThat(look(first.again())).isEmpty();
        look(first);
        Files.writeString(temporary.resolve(STAT), "nr_periods 900004\nnr_throttled 30002\n");
        assertThat(look(first.again())).extracting(Link::state).containsExactly(Link.State.DOUBTFUL);
    }

    /** Neither the helpers of a device's guest, which its interrupts do not pass. */
    @Test
    void helperWhoseCountStandsIsNotOfNow() throws IOException {
        write(
                "{vmm}cmdline swap usb=off usb=off\\0-device\\0vhost-user-fs-pci; proc/109/comm = virtiofsd; proc/109/fd/7 -> anon_inode:[eventfd]; proc/109/fdinfo/7 = eventfd-count:   "
                        + "  0\\neventfd-id: 1; proc/109/stat = 109 (virtiofsd) S 1; proc/109/cgroup = 0::/fs;"
                        + " sys/fs/cgroup/fs/cpu.max = 1000 100000; sys/devices/system/cpu/online = 0-7;"
                        + " sys/fs/cgroup/fs/cpu.stat = nr_periods 900000\\nnr_throttled 500000");
        String root = temporary.toString();
        assertThat(Cli.run("explain", "--all", "--root", root).out())
                .contains("the control group /fs has used up its CPU quota");
        assertThat(Cli.run("explain", DEVICE, "--twice", "--root", root).out())
                .isEqualTo(Cli.run("explain", DEVICE, "--root", root).out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"--all --live 1", "--vm web --vcpus --live 1"})
    void twoLooksAreNotAWatch(String others) {
        String[] words = ("explain --twice " + others).split(" ");
        assertThat(Cli.run(words).exited(2).err())
                .contains("--twice reads files twice, and --live watches longer: use one of them");
    }

    @ParameterizedTest
    @CsvSource({"3, 3, EVER", "3, 4, NOW", "0, 1, NOW"})
    void errorThatIsReportedBetweenTheLooksIsOfNow(int before, int after, Flaw.Span span) throws IOException {
        write("{dev}aer_dev_fatal = TOTAL_ERR_FATAL " + before);
        HostFacts first = new HostFacts(HostFiles.at(temporary));
        assertThat(look(first).stream().flatMap(link -> link.flaws().stream()).map(Flaw::span))
                .isEqualTo(before == 0 ? List.of() : List.of(Flaw.Span.EVER));
        Files.writeString(temporary.resolve(AER), "TOTAL_ERR_FATAL " + after + "\n");
        assertThat(look(first.again()).get(0).flaws().get(0).span()).isEqualTo(span);
    }

    /** A count of the host is of all its guests, and only its growth is of now. */
    @ParameterizedTest
    @CsvSource({"150, 150, EVER", "150, 151, NOW"})
    void countOfTheHostIsOfNowWhenItGrows(int before, int after, Flaw.Span span) throws IOException {
        write("proc/interrupts add ERR: " + before);
        HostFacts first = new HostFacts(HostFiles.at(temporary));
        assertThat(errors(first).span()).isEqualTo(Flaw.Span.EVER);
        Path file = temporary.resolve("proc/interrupts");
        Files.writeString(file, Files.readString(file).replace("ERR: " + before, "ERR: " + after));
        assertThat(errors(first.again()).span()).isEqualTo(span);
        assertThat(errors(first).subject()).isEqualTo(Flaw.Subject.HOST);
    }

    private static Flaw errors(HostFacts host) {
        PciDevice device = host.pci(PciAddress.parse(DEVICE)).orElseThrow();
        return DeviceChains.read(host, device)
                .get(0)
                .link(Hop.HOST_IRQ)
                .orElseThrow()
                .flaws()
                .get(0);
    }

    @Test
    void commandsSayTheSameOfAHostThatStands() throws IOException {
        write(THROTTLED);
        for (String command : List.of("explain --all --nagios", "doctor --check paths")) {
            String[] once = (command + " --root " + temporary).split(" ");
            String[] twice =
                    Stream.concat(Stream.of(once), Stream.of("--twice")).toArray(String[]::new);
            assertThat(Cli.run(twice).exited(0).out())
                    .isEqualTo(Cli.run(once).exited(0).out())
                    .isNotEmpty();
        }
    }
}
