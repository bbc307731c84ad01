/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code kvmirq forward} on fake kernels, and what it prints, letter by letter. */
class ForwardCommandTest {
    private static final String NIC = " 0000:3b:00.0";

    private static Cli.Ended run(String arguments) {
        return Cli.run(("forward " + arguments.strip()).split(" +", -1));
    }

    @ParameterizedTest
    @CsvSource({
        "--fake 6.12 --vectors 0-3,         forward-6.12.txt",
        "--fake 6.1 --kind intx,            forward-6.1-intx.txt",
        "--fake amd-avic --vectors 62-63,   forward-amd-avic.txt",
        "--fake avic-inhibited --kind msi,  forward-avic-inhibited.txt",
        "--fake vtd --vectors 5,            forward-vtd.txt",
        "--fake vtd-posting --vectors 0-1,  forward-vtd-posting.txt",
        "--fake gicv3 --vectors 0-1,        forward-gicv3.txt",
        "--fake gicv4 --vectors 0-1,        forward-gicv4.txt",
        "--fake historic --kind intx,       forward-historic.txt",
        "--fake 6.12 --vectors 0-1 --json,  forward-6.12.json",
        "--fake vtd --kind msi --json,      forward-vtd.json"
    })
    void outputIsAsRecorded(String arguments, String golden) throws IOException {
        Cli.Ended printed = run("--selftest " + arguments + NIC);
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out()).isEqualTo(Recorded.text(ForwardCommandTest.class, golden, printed.out()));
        assertThat(printed.exitCode()).isZero();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"6.1", "6.18,split", "7.1,cdev", "vtd-posting", "amd-avic", "avic-inhibited", "gicv4", "historic"
            })
    void everyVectorOfEveryProfileArrives(String profile) {
        Cli.Ended printed = run("--selftest --fake " + profile + NIC).exited(0);
        assertThat(printed.out())
                .startsWith("FAKE all 64 interrupts of 0000:3b:00.0 reached the ")
                .contains("64 of 64 interrupts", "nothing left behind: PASS");
        assertThat(printed.out().lines()).allMatch(line -> line.startsWith("FAKE "));
    }

    @Test
    void withoutTheSelftestItSaysWhatThatWouldDo() {
        Cli.Ended said = Cli.run("forward", "--fake", "vtd-posting", "0000:3b:00.0", "--vectors", "3-9")
                .exited(0);
        assertThat(said.out()).isEqualTo("""
                FAKE 0000:3b:00.0 is ready for the test; nothing was touched. --selftest would:
                FAKE   open 0000:3b:00.0, which resets it
                FAKE   forward MSI-X 3-9 into a throwaway VM
                FAKE   trigger each through VFIO's loopback; the device raises none and cannot do DMA
                FAKE   release everything; the device stays bound to vfio-pci
                FAKE posting is on: this host can post device interrupts to running vCPUs
                """);
        assertThat(Cli.run("forward", "--fake", "vtd", "0000:3b:00.0", "--json")
                        .exited(0)
                        .out())
                .startsWith("{\"schema\":2,\"command\":\"forward\",")
                .contains("\"fake\":true,\"device\":\"0000:3b:00.0\",\"plan\":{\"kind\":\"msix\",\"inDevice\":64,"
                        + "\"first\":0,\"count\":64},\"posting\":{\"posts\":false,")
                .endsWith("\"failure\":null}\n");
    }

    @Test
    void planOfALineSaysThatItIsNotPosted() {
        assertThat(run("--fake vtd-posting --kind intx" + NIC).exited(0).out())
                .contains("forward INTx into", "posting is off: only MSIs can be posted, and INTx is a line (test");
        assertThat(run("--fake vtd-posting --kind intx --json" + NIC).exited(0).out())
                .contains("\"kind\":\"intx\",\"inDevice\":1,\"first\":0,\"count\":1},\"posting\":{\"posts\":false,");
        assertThat(run("--fake gicv2 --json" + NIC).exited(3).out()).contains("\"plan\":null,");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--fake 6.1 0000:3b:00.1                       | 3 | there is no PCI device 0000:3b:00.1: 'kvmirq vfio"
                        + " --fake 6.1' lists the devices",
                "--fake gicv2 0000:3b:00.0                     | 3 | KVM on this host does not support a guest GICv3,"
                        + " and a GICv2 has no"
                        + " ITS, which device messages need; the test needs a host with a GICv3, even for INTx",
                "--root x 0000:3b:00.0                         | 2 | Unknown option: '--root'. See kvmirq forward"
                        + " --help",
                "--fake 6.1 --kind msi --vectors 1 0000:3b:00.0 | 3 | 0000:3b:00.0 has 1 vector of MSI, numbered from"
                        + " 0, and no vector 1",
                "--fake 5.4 0000:3b:00.0                       | 2 | profile '5.4' is unknown: expected one of 6.1,"
                        + " 6.12, 6.18, 7.1; options after a version and a comma: split, irqfd-host, irqfd-vm, pvm, arm64,"
                        + " cdev; options that need no version: vtd, vtd-posting, amd-vi, amd-avic, avic-inhibited, gicv2, gicv3, gicv4, historic. See"
                        + " kvmirq forward --help",
                "--selftest --fake 6.1 3b                      | 2 | '3b' is not a PCI address: expected"
                        + " DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:3b:00.0. See kvmirq forward --help",
                "--selftest --fake 6.1                         | 2 | Missing required parameter: 'BDF'. See kvmirq"
                        + " forward --help",
                "--selftest --fake 5.4 0000:3b:00.0            | 2 | profile '5.4' is unknown: expected one of 6.1,"
                        + " 6.12, 6.18, 7.1; options after a version",
                "--selftest --kind msii 0000:3b:00.0           | 2 | --kind is 'msii': expected msix, msi or intx. See"
                        + " kvmirq forward --help",
                "--selftest --vectors 3-2 0000:3b:00.0         | 2 | --vectors is '3-2': expected a vector or a range,"
                        + " such as 3 or 0-63. See kvmirq forward --help",
                "--selftest --vectors all 0000:3b:00.0         | 2 | --vectors is 'all': expected a vector or a range,"
                        + " such as 3 or 0-63. See kvmirq forward --help",
                "--selftest --kind intx --vectors 0 0000:3b:00.0 | 2 | --vectors is for msix and msi, and INTx is one"
                        + " line: leave it out. See kvmirq forward --help",
                "--selftest --fake 6.1 0000:ff:1f.7            | 3 | there is no PCI device 0000:ff:1f.7: 'kvmirq"
                        + " vfio --fake 6.1' lists the devices",
                "--selftest --fake 6.1 0000:3d:00.0            | 3 | 0000:3d:00.0 cannot be forwarded: host drivers"
                        + " use 0000:3d:00.1 (driver-of-host) in the same IOMMU group (17), so"
                        + " VFIO_GROUP_SET_CONTAINER fails with EPERM; ",
                "--selftest --fake 6.1 0000:3d:00.1            | 3 | 0000:3d:00.1 cannot be forwarded: the driver"
                        + " driver-of-host is bound to 0000:3d:00.1, but VFIO needs vfio-pci; bind it to vfio-pci (live;"
                        + " risk: the host loses it). See kvmirq vfio --fake 6.1 0000:3d:00.1",
                "--selftest --fake 6.1 --vectors 64 0000:3b:00.0 | 3 | 0000:3b:00.0 has 64 vectors of MSI-X, numbered"
                        + " from 0, and no vector 64",
                "--selftest --fake gicv2 0000:3b:00.0          | 3 | KVM on this host does not support a guest GICv3,"
                        + " and a GICv2 has no ITS, which device messages need",
            })
    void refusalIsOneSentence(String arguments, int exitCode, String sentence) {
        Cli.Ended printed = run(arguments).exited(exitCode);
        assertThat(printed.err()).startsWith("kvmirq: " + sentence).hasLineCount(1);
        assertThat(printed.out()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"--fake gicv2 0000:3b:00.0", "--fake 6.1 0000:3d:00.1", "--fake 6.1 0000:ff:1f.7"})
    void refusalIsADocumentToo(String arguments) {
        Cli.Ended printed = run("--selftest --json " + arguments).exited(3);
        String sentence = printed.err().strip().substring("kvmirq: ".length());
        assertThat(printed.out())
                .startsWith("{\"schema\":2,\"command\":\"forward\",")
                .contains("\"passed\":false,\"failure\":\"" + sentence + "\"}")
                .hasLineCount(1);
    }

    @Test
    void helpSaysThatOpeningResetsAndFitsATerminal() {
        String help = run("--help").out();
        assertThat(help.replaceAll("\\s+", " ")).contains("Opening a device resets it", "after Ctrl-C");
        assertThat(help.lines()).allMatch(line -> line.length() <= 80);
    }
}
