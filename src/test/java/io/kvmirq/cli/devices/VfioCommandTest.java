/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.RecordedHost;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Recorded hosts, and what the command prints of them, letter by letter. */
class VfioCommandTest {
    private record Printed(int exitCode, String out, String err) {}

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    private static Printed run(String... arguments) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int code = new Commands(List.of(new VfioCommand()))
                .run(
                        arguments,
                        new Terminal(
                                new PrintStream(out, false, StandardCharsets.UTF_8),
                                new PrintStream(err, false, StandardCharsets.UTF_8),
                                false,
                                Terminal.DEFAULT_COLUMNS,
                                0));
        return new Printed(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    private Printed of(RecordedHost host, String... arguments) throws IOException {
        host.writeTo(temporary);
        List<String> all = new ArrayList<>(List.of("vfio", "--root", temporary.toString()));
        all.addAll(List.of(arguments));
        return run(all.toArray(String[]::new));
    }

    private static String golden(String name) throws IOException {
        try (InputStream in = Objects.requireNonNull(VfioCommandTest.class.getResourceAsStream(name), name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "amd-6.1,    0000:00:02.0, vfio-amd-6.1-e1000e.txt,  0",
        "amd-6.1,    0000:00:05.0, vfio-amd-6.1-virtio.txt,  1",
        "amd-7.1,    0000:00:03.0, vfio-amd-7.1-edu.txt,     0",
        "arm64-6.12, 0000:00:01.0, vfio-arm64-e1000e.txt,    0",
        "amd-6.12,   '',           vfio-amd-6.12-list.txt,   0"
    })
    void textIsAsRecorded(String host, String address, String golden, int exitCode) throws IOException {
        String[] arguments = address.isEmpty() ? new String[0] : new String[] {address};
        Printed printed = of(RecordedHost.of(host), arguments);
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out()).isEqualTo(golden(golden));
        assertThat(printed.exitCode()).isEqualTo(exitCode);
    }

    @Test
    void jsonIsAsRecorded() throws IOException {
        Printed printed = of(RecordedHost.of("intel-6.1"), "0000:00:01.0", "--json");
        assertThat(printed.exitCode()).isZero();
        assertThat(printed.out()).isEqualTo(golden("vfio-intel-6.1.json"));
        assertThat(run("vfio", "--root", temporary.toString(), "--json").out())
                .startsWith("{\"schema\":\"kvmirq.vfio/1\",\"kernel\":\"6.1.0-56-amd64\",\"iommus\":[\"dmar0\"],")
                .contains("\"address\":\"0000:00:04.0\"", "\"cause\":\"not-bound\"");
    }

    /** Names of a tree may hold anything; commands hold none of them. */
    @Test
    void namesOfATreeAreMadePrintableAndStayOutOfCommands() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .remove("sys/bus/pci/devices/0000:00:02.0/driver")
                .link("sys/bus/pci/devices/0000:00:02.0/driver", "x/\033[2J;reboot");
        Printed printed = of(host, "0000:00:02.0");
        assertThat(printed.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(printed.out()).contains("?[2J;reboot").doesNotContain("\033");
        assertThat(printed.out().substring(printed.out().indexOf("to bind it:")))
                .doesNotContain("reboot")
                .contains("  echo vfio-pci > /sys/bus/pci/devices/0000:00:02.0/driver_override\n");
    }

    /** The class of a bridge without its header: the host bridge and the LPC bridge. */
    @Test
    void bridgeGetsNoCommands() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1").put("sys/bus/pci/devices/0000:00:05.0/class", "0x060100\n");
        Printed printed = of(host, "0000:00:05.0");
        assertThat(printed.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(printed.out()).contains("0000:00:05.0 is a bridge").doesNotContain("echo");
        assertThat(run("vfio", "--root", temporary.toString(), "0000:00:05.0", "--json")
                        .out())
                .contains("\"cause\":\"bridge\"", "\"bind\":[],\"giveBack\":[]");
    }

    /** There the probe of vfio-pci fails, after the host's driver is gone. */
    @ParameterizedTest
    @CsvSource({"no-iommu, sys/class/iommu", "no-group, sys/bus/pci/devices/0000:00:05.0/iommu_group"})
    void deviceWithoutAnIommuGetsNoCommands(String cause, String removed) throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .remove("sys/bus/pci/devices/0000:00:05.0/iommu_group")
                .remove(removed);
        assertThat(of(host, "0000:00:05.0").out()).doesNotContain("echo");
        assertThat(run("vfio", "--root", temporary.toString(), "0000:00:05.0", "--json")
                        .out())
                .contains("\"cause\":\"" + cause + "\"", "\"bind\":[],\"giveBack\":[]");
    }

    @Test
    void givingBackKeepsAnOverrideOfTheHost() throws IOException {
        String device = "/sys/bus/pci/devices/0000:00:05.0/";
        RecordedHost host = RecordedHost.of("amd-6.1").put(device.substring(1) + "driver_override", "virtio-pci\n");
        assertThat(of(host, "0000:00:05.0").out())
                .contains("afterwards, to give it back:\n  echo virtio-pci > " + device + "driver_override\n");
        host.put(device.substring(1) + "driver_override", "$(reboot)\n");
        assertThat(giveBack(host)).isEqualTo("[]");
        host.link(device.substring(1) + "driver", "x/vfio-pci");
        assertThat(giveBack(host))
                .isEqualTo("[\"echo 0000:00:05.0 > " + device
                        + "driver/unbind\",\"echo 0000:00:05.0 > /sys/bus/pci/drivers_probe\"]");
    }

    private String giveBack(RecordedHost host) throws IOException {
        Path copy = Files.createTempDirectory(temporary, "host");
        host.writeTo(copy);
        String out =
                run("vfio", "--root", copy.toString(), "0000:00:05.0", "--json").out();
        return out.substring(out.indexOf("\"giveBack\":") + 11, out.lastIndexOf("}]}"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "vfio 3b                       | 2 | kvmirq: '3b' is not a PCI address: expected"
                        + " DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:3b:00.0. See kvmirq vfio --help",
                "vfio 0000:3b:00.0;reboot      | 2 | kvmirq: '0000:3b:00.0;reboot' is not a PCI address: expected"
                        + " DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:3b:00.0. See kvmirq vfio --help",
                "vfio --fake 6.1 0000:ff:1f.7  | 3 | kvmirq: there is no PCI device 0000:ff:1f.7: 'kvmirq vfio' lists"
                        + " the devices",
                "vfio --fake 5.4               | 2 | kvmirq: profile '5.4' is unknown: expected one of 6.1, 6.12,"
                        + " 6.18, 7.1, and after a comma",
                "vfio --root /proc             | 2 | kvmirq: --root is '/proc': expected a directory with"
                        + " sys/bus/pci/devices in it. See kvmirq vfio --help",
                "vfio --root / --fake 6.1      | 2 | kvmirq: --fake and --root exclude each other: give one of them."
                        + " See kvmirq vfio --help"
            })
    void wrongArgumentsAreOneSentence(String arguments, int exitCode, String sentence) {
        Printed printed = run(arguments.strip().split(" ", -1));
        assertThat(printed.exitCode()).isEqualTo(exitCode);
        assertThat(printed.err()).startsWith(sentence).hasLineCount(1);
        assertThat(printed.out()).isEmpty();
    }

    @Test
    void devicesOfAFakeKernel() {
        for (String profile : Profile.labels()) {
            assertThat(run("vfio", "--fake", profile).out())
                    .contains("0000:3b:00.0", "usable", "0000:3d:00.0", "group-not-viable", "not-bound");
        }
        Printed printed = run("vfio", "--fake", "6.12", "0000:3d:00.0");
        assertThat(printed.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(printed.out()).contains("0000:3d:00.1 (driver-of-host)", "Linux 6.12.0-fake");
    }
}
