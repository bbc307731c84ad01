/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.debugfs;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.arch.gic.debugfs.VgicState.Delivery;
import io.kvmirq.arch.gic.debugfs.VgicState.Interrupt;
import io.kvmirq.arch.gic.debugfs.VgicState.Kind;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The files of debugfs on a VGIC: of real hosts (Linux 6.1 and 7.2, GICv4 and GICv3), and as the source has them. */
class DebugfsTest {
    private static final Path SAMPLES = Path.of(System.getProperty("kvmirq.basedir", ""), "../shared/lab/samples");

    static String resource(String name) throws IOException {
        try (InputStream in = DebugfsTest.class.getResourceAsStream("/io/kvmirq/arch/gic/" + name)) {
            return new String(Objects.requireNonNull(in, name).readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private static List<Integer> ids(List<Interrupt> of) {
        return of.stream().map(Interrupt::id).toList();
    }

    @Test
    void gicV4HostForwardsTheLpisOfTheDevice() throws IOException {
        VgicState state = VgicState.parse(resource("vgic-state-gicv4.txt"));
        assertThat(state.model()).isEqualTo("GICv3");
        assertThat(state.enabled()).isTrue();
        assertThat(state.spis()).isEqualTo(64);
        assertThat(state.lpis()).hasValue(47);
        assertThat(state.interrupts()).hasSize(16 + 16 + 64 + 47);
        assertThat(ids(state.vlpis())).containsExactlyInAnyOrder(8257, 8258, 8259, 8260, 8261);
        assertThat(state.vlpis())
                .allMatch(lpi -> lpi.kind() == Kind.LPI && lpi.owner().isEmpty() && lpi.priority() == 160);
    }

    @Test
    void gicV3HostForwardsNoLpi() throws IOException {
        VgicState state = VgicState.parse(resource("vgic-state-gicv3.txt"));
        assertThat(state.lpis()).hasValue(47);
        assertThat(state.vlpis()).isEmpty();
    }

    /** HW=1 of a timer's PPI is another thing than HW=1 of an LPI. */
    @Test
    void timersAreMappedAndNotForwarded() throws IOException {
        VgicState state = VgicState.parse(resource("vgic-state-gicv4.txt"));
        List<Interrupt> mapped = state.interrupts().stream()
                .filter(interrupt -> interrupt.delivery() == Delivery.HW_INTERRUPT)
                .toList();
        assertThat(ids(mapped)).containsExactly(27, 30);
        assertThat(mapped).allMatch(ppi -> ppi.kind() == Kind.PPI && ppi.hardwareId() == ppi.id() && ppi.level());
        assertThat(mapped).allMatch(ppi -> ppi.owner().orElseThrow() == 0);
    }

    @Test
    void everySampleIsRead() throws IOException {
        assumeTrue(Files.isDirectory(SAMPLES), "no samples of hosts beside the project");
        List<Path> all;
        try (Stream<Path> found = Files.walk(SAMPLES)) {
            all = found.filter(file -> file.endsWith("vgic-state.txt")).toList();
        }
        assertThat(all).hasSize(12);
        for (Path file : all) {
            VgicState state = VgicState.parse(Files.readString(file));
            int forwarded =
                    !file.toString().contains("v4") ? 0 : file.toString().contains("edu") ? 1 : 5;
            assertThat(state.vlpis()).as(file.toString()).hasSize(forwarded);
            assertThat(state.interrupts())
                    .hasSize(32 + state.spis() + state.lpis().orElseThrow());
        }
    }

    @Test
    void aRowHasEveryField() {
        VgicState state = VgicState.parse("""
            Distributor
            ===========
            vgic_model:\tGICv2
            nr_spis:\t32
            enabled:\t0

            P=pending_latch, L=line_level, A=active
            E=enabled, H=hw, C=config (level=1, edge=0)
            G=group

            VCPU 3 TYP   ID TGT_ID PLAEHCG     HWID   TARGET SRC PRI VCPU_ID
            ----------------------------------------------------------------
                   SGI    5      3 1010100        0        8  a5 176       3\s

            SPI  0 TYP   ID TGT_ID PLAEHCG     HWID   TARGET SRC PRI VCPU_ID
            ----------------------------------------------------------------
                   SPI   40     -1 0101010      112       ff   0   0      -1\s
            """);
        assertThat(state.model()).isEqualTo("GICv2");
        assertThat(state.enabled()).isFalse();
        assertThat(state.lpis()).isEmpty();
        Interrupt sgi = state.interrupts().get(0);
        assertThat(sgi.kind()).isEqualTo(Kind.SGI);
        assertThat(sgi.owner()).hasValue(3);
        assertThat(sgi.id()).isEqualTo(5);
        assertThat(sgi.target()).hasValue(3);
        assertThat(sgi.pendingLatch()).isTrue();
        assertThat(sgi.lineHigh()).isFalse();
        assertThat(sgi.active()).isTrue();
        assertThat(sgi.enabled()).isFalse();
        assertThat(sgi.delivery()).isEqualTo(Delivery.VSGI);
        assertThat(sgi.level()).isFalse();
        assertThat(sgi.group()).isZero();
        assertThat(sgi.targets()).isEqualTo(8);
        assertThat(sgi.sources()).isEqualTo(0xa5);
        assertThat(sgi.priority()).isEqualTo(176);
        assertThat(sgi.queuedOn()).hasValue(3);
        assertThat(sgi.isPending()).isTrue();
        Interrupt spi = state.interrupts().get(1);
        assertThat(spi.owner()).isEmpty();
        assertThat(spi.target()).isEmpty();
        assertThat(spi.lineHigh()).isTrue();
        assertThat(spi.enabled()).isTrue();
        assertThat(spi.level()).isTrue();
        assertThat(spi.hardwareId()).isEqualTo(112);
        assertThat(spi.targets()).isEqualTo(0xff);
        assertThat(spi.queuedOn()).isEmpty();
        assertThat(spi.delivery()).isEqualTo(Delivery.SOFTWARE);
        assertThat(spi.isPending()).isTrue();
    }

    /** The line of an edge-triggered interrupt means nothing. */
    @ParameterizedTest
    @CsvSource({"0000000,false", "1000000,true", "0100000,false", "0100010,true", "0000010,false", "1000010,true"})
    void pendingIsTheLatchOrTheLineOfALevel(String flags, boolean pending) {
        VgicState state =
                VgicState.parse("vgic_model: GICv3\nnr_spis: 32\nenabled: 1\nSPI 40 0 " + flags + " 0 0 0 160 -1");
        assertThat(state.interrupts().get(0).isPending()).isEqualTo(pending);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "''|vgic-state has no line vgic_model: expected the file kvm/TID-FD/vgic-state of debugfs, from its"
                        + " first line on",
                "vgic_model: GICv3,nr_spis: many,enabled: 1|vgic-state has nr_spis many: expected a number",
                "vgic_model: GICv3,SPI 40 0 0012000 0 0 0 160 -1|line 2 of vgic-state is 'SPI 40 0 0012000 0 0 0 160"
                        + " -1': expected a row such as 'LPI 8257 0 0001101 0 0 0 160 -1'",
                "vgic_model: GICv9,nr_spis: 1,enabled: 1|vgic-state has vgic_model GICv9: expected GICv2 or GICv3",
                "SPI 40 0 0001000 0 0 0 999 -1|line 1 of vgic-state is 'SPI 40 0 0001000 0 0 0 999 -1':"
                        + " expected a priority of 0-255 and not 999",
                "SPI 99999999999 0 0001000 0 0 0 160 -1|line 1 of vgic-state is 'SPI 99999999999 0 0001000 0 0 0 160"
                        + " -1': expected a 32-bit number, not 99999999999",
                "SPI 40 0 0001000 0 123456789 0 160 -1|line 1 of vgic-state is 'SPI 40 0 0001000 0 123456789 0 160 -1':"
                        + " expected a 32-bit number, not 123456789",
                "SGI 40 0 0001000 0 0 0 160 -1|line 1 of vgic-state is 'SGI 40 0 0001000 0 0 0 160 -1':"
                        + " expected an id of kind SGI, 0-15",
                "SPI 1020 0 0001000 0 0 0 160 -1|line 1 of vgic-state is 'SPI 1020 0 0001000 0 0 0 160 -1':"
                        + " expected an id of kind SPI, 32-1019",
                "PPI 15 0 0001000 0 0 0 160 -1|line 1 of vgic-state is 'PPI 15 0 0001000 0 0 0 160 -1':"
                        + " expected an id of kind PPI, 16-31",
                "LPI 5 0 0001101 0 0 0 160 -1|line 1 of vgic-state is 'LPI 5 0 0001101 0 0 0 160 -1':"
                        + " expected an id of kind LPI, 8192 or more",
                "SPI 40 -7 0001000 0 0 0 160 -1|line 1 of vgic-state is 'SPI 40 -7 0001000 0 0 0 160 -1':"
                        + " expected the index of a vCPU, or -1, and not -7",
                "SPI 40 0 0001000 0 0 ff 255 -2|line 1 of vgic-state is 'SPI 40 0 0001000 0 0 ff 255 -2':"
                        + " expected the index of a vCPU, or -1, and not -2",
                "SPI 40 0 0001000 0 0 0 256 -1|line 1 of vgic-state is 'SPI 40 0 0001000 0 0 0 256 -1':"
                        + " expected a priority of 0-255 and not 256",
                "SPI 40 0 0001000 0 0 100 255 -1|line 1 of vgic-state is 'SPI 40 0 0001000 0 0 100 255 -1':"
                        + " expected sources of 0-ff and not 100",
                "vgic_model: GICv3,nr_spis: 32,enabled: 5|vgic-state has enabled 5: expected 0 or 1",
                "nr_spis: 32,nr_spis: 64|line 2 of vgic-state is 'nr_spis: 64': expected one line nr_spis",
                "VCPU -1 TYP   ID TGT|line 1 of vgic-state is 'VCPU -1 TYP   ID TGT':"
                        + " expected a row such as 'LPI 8257 0 0001101 0 0 0 160 -1'"
            })
    void badTextIsNamed(String lines, String sentence) {
        assertIllegalArgument(() -> VgicState.parse(lines.replace(",", "\n")), sentence);
    }

    @Test
    void itsHasDevicesAndTheirEvents() throws IOException {
        ItsState state = ItsState.parse(resource("vgic-its-state.txt"));
        assertThat(state.devices())
                .containsExactly(
                        new ItsState.Device(
                                8,
                                31,
                                List.of(
                                        new ItsState.Translation(0, 8192, 0, OptionalLong.of(0), 0, true),
                                        new ItsState.Translation(1, 8193, 0, OptionalLong.of(1), 1, false))),
                        new ItsState.Device(
                                16, 0, List.of(new ItsState.Translation(0, 8224, 0, OptionalLong.of(1), 1, true))));
        assertThat(ItsState.parse("\n").devices()).isEmpty();
    }

    /** Recorded in the lab: GICv4, Linux 7.2, 128 events for two vCPUs in turn; a device's irqfd is on the first. */
    @Test
    void itsOfARealHostForwardsTheEventThatHasAnIrqfd() throws IOException {
        ItsState state = ItsState.parse(resource("vgic-its-state-7.2.txt"));
        assertThat(state.devices()).hasSize(1);
        ItsState.Device device = state.devices().get(0);
        assertThat(device.id()).isEqualTo(0x10);
        assertThat(device.lastEvent()).isEqualTo(255);
        assertThat(device.translations())
                .containsExactlyElementsOf(IntStream.range(0, 128)
                        .mapToObj(event -> new ItsState.Translation(
                                event, 8192 + event, 0, OptionalLong.of(event % 2), event % 2, event == 0))
                        .toList());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "32 8192 0 0 0 1|2|32 8192 0 0 0 1|an event of the device, 0-31",
                "3 8191 0 0 0 1|2|3 8191 0 0 0 1|an LPI, from 8192 on"
            })
    void translationThatCannotBeIsRefused(String rows, int line, String text, String expected) {
        String file = "Device ID: 0x8, Event ID Range: [0 - 31]\n" + rows.replace(';', '\n') + "\n";
        assertIllegalArgument(
                () -> ItsState.parse(file),
                "line " + line + " of vgic-its-state is '" + text + "': expected " + expected);
    }

    @Test
    void collectionWithoutAVcpuHasNoTarget() {
        ItsState state = ItsState.parse("Device ID: 0x8, Event ID Range: [0 - 31]\n0 8192 0 4294967295 2 0\n");
        assertThat(state.devices().get(0).translations())
                .containsExactly(new ItsState.Translation(0, 8192, 0, OptionalLong.empty(), 2, false));
    }

    @Test
    void fileThatIsCutOffIsNotComplete() throws IOException {
        String text = resource("vgic-state-gicv4.txt");
        VgicState state = VgicState.parse(text);
        assertThat(state.hasAllSpis() && state.hasAllLpis()).isTrue();
        assertThat(VgicState.parse(text.substring(0, 4000)).hasAllSpis()).isFalse();
        // Within the LPIs, and before them.
        for (int lines : new int[] {114, 112}) {
            VgicState cut = VgicState.parse(text.lines().limit(lines).collect(Collectors.joining("\n")));
            assertThat(cut.hasAllSpis()).isTrue();
            assertThat(cut.hasAllLpis()).isFalse();
        }
    }

    @Test
    void aMissingSpiIsNotMadeUpForByAnother() throws IOException {
        String text = resource("vgic-state-gicv4.txt");
        assertThatThrownBy(() -> VgicState.parse(text.replace("SPI   42 ", "SPI   43 ")))
                .hasMessageMatching("line \\d+ of vgic-state is 'SPI   43 .*': expected each interrupt once");
        assertThat(VgicState.parse(text.replace("SPI   42 ", "SPI   96 ")).hasAllSpis())
                .isFalse();
    }

    /** The kernel prints only the head before. */
    @Test
    void vgicWithoutRowsIsNotInitialized() {
        String head = "vgic_model: GICv3\nnr_spis: 64\nnr_lpis: %d\nenabled: %d\n";
        assertThat(VgicState.parse(head.formatted(0, 0)).isInitialized()).isFalse();
        assertThat(VgicState.parse(head.formatted(0, 1)).isInitialized()).isTrue();
        assertThat(VgicState.parse(head.formatted(1, 0)).isInitialized()).isTrue();
        assertThat(VgicState.parse(head.formatted(0, 0) + "VCPU 0 TYP   ID TGT_ID\nSGI 0 0 0001001 0 0 0 0 -1")
                        .isInitialized())
                .isTrue();
    }

    /** The guest unmapped the LPI after the kernel had begun to print. */
    @Test
    void freedLpiIsPassedOver() throws IOException {
        String text = resource("vgic-state-gicv4.txt") + "       LPI 8304 freed\n";
        assertThat(VgicState.parse(text)).isEqualTo(VgicState.parse(resource("vgic-state-gicv4.txt")));
    }

    @Test
    void firstKernelsPrintTheDeviceInDecimal() {
        ItsState state = ItsState.parse("Device ID: 16, Event ID Range: [0 - 65535]\n0 8192 0 0 0 1\n");
        assertThat(state.devices().get(0).id()).isEqualTo(16);
        assertThat(state.devices().get(0).lastEvent()).isEqualTo(65535);
    }

    /** The kernel prints the head of a device together with its first event. */
    @Test
    void deviceWithoutEventsIsCutOff() throws IOException {
        String text = resource("vgic-its-state.txt");
        for (int bytes : new int[] {text.indexOf("]", 250) + 1, 330, text.indexOf("       0     8224")}) {
            assertThatThrownBy(() -> ItsState.parse(text.substring(0, bytes)))
                    .hasMessage(
                            "line 8 of vgic-its-state is 'Device ID: 0x10, Event ID Range: [0 - 0]': expected an event"
                                    + " of the device after it; the file is cut off");
        }
        assertThatThrownBy(() -> ItsState.parse(text.replace("       1     8193        0        1        1  0\n", "")
                        .replace("       0     8192        0        0        0  1\n", "")))
                .hasMessageStartingWith("line 2 of vgic-its-state is 'Device ID: 0x8, ");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "0 8192 0 0 0 1",
                "Device ID: 0x123456789, Event ID Range: [0 - 31]",
                "Device ID: 0x8, Event ID Range: [0 - 99999999999999999999]",
                "Device ID: 0x8, Event ID Range: [0 - 31]\n0 8192 0 0 0 2",
                "Distributor"
            })
    void badTextOfAnItsIsNamed(String text) {
        assertThatThrownBy(() -> ItsState.parse(text))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageMatching("line [12] of vgic-its-state is '.*': expected .*");
    }
}
