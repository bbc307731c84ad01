/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.cli.frame.Terminal;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class DebugfsReportTest {
    private static final String HEAD = "vgic_model: GICv3\nnr_spis: 1\nnr_lpis: %d\nenabled: 1\n";

    private static String printed(String kind, String text) throws IOException {
        return printed(kind, text, false).replaceAll(" +", " ");
    }

    private static String printed(String kind, String text, boolean json) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(
                new PrintStream(out, true, StandardCharsets.UTF_8),
                new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8),
                false,
                Terminal.DEFAULT_COLUMNS,
                0);
        DebugfsFile.print(kind, new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)), json, terminal);
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void conclusionNeedsLpis() throws IOException {
        String spi = "SPI 32 0 1111010 0 0 0 160 -1\n";
        assertThat(printed("vgic-state", HEAD.formatted(0) + spi))
                .contains("- SPI 32 vCPU 0 pending, line high, active level 160 KVM")
                .endsWith("The guest has mapped no LPI.\n");
        assertThat(printed("vgic-state", HEAD.formatted(1) + spi + "LPI 8192 0 0001001 0 0 0 160 -1\n"))
                .endsWith("No LPI is forwarded: each passes through KVM.\n");
        assertThat(printed("vgic-state", HEAD.formatted(1) + spi + "LPI 8192 0 0001101 0 0 0 160 -1\n"))
                .endsWith("1 of 1 LPIs is forwarded: GICv4 delivers without KVM.\n");
    }

    @Test
    void fileThatIsCutOffProvesNothing() throws IOException {
        assertThatThrownBy(() -> printed("vgic-state", HEAD.formatted(1) + "LPI 8192 0 0001101 0 0 0 160 -1\n"))
                .hasMessage("vgic-state does not list all of its 1 SPIs: expected the whole file");
        String spi = HEAD.formatted(3) + "SPI 32 0 0001001 0 0 0 160 -1\n";
        String which = ": it is truncated, or the guest was mapping LPIs.";
        assertThat(printed("vgic-state", spi)).endsWith("The header reports 3 LPIs, but the file has 0" + which + "\n");
        assertThat(printed("vgic-state", spi + "LPI 8192 0 0001001 0 0 0 160 -1\n"))
                .endsWith("The header reports 3 LPIs, but the file has 1" + which + "\n");
        assertThat(printed("vgic-state", spi + "LPI 8192 0 0001101 0 0 0 160 -1\nLPI 8193 0 0001101 0 0 0 160 -1\n"))
                .endsWith("The header reports 3 LPIs, but the file has 2" + which + " Of these, 2 are forwarded.\n");
    }

    @Test
    void vgicThatIsNotInitializedIsToldSo() throws IOException {
        assertThat(printed("vgic-state", HEAD.formatted(0).replace("enabled: 1", "enabled: 0")))
                .isEqualTo("GICv3, not initialized: 1 SPIs\n");
        assertThat(printed("vgic-state", "vgic_model: GICv2\nnr_spis: 0\nenabled: 0\n"))
                .isEqualTo("GICv2, not initialized\n");
    }

    @Test
    void gicV2ShowsWhoSentAnSgiAndHasNoLpis() throws IOException {
        String head = "vgic_model: GICv2\nnr_spis: 1\nenabled: 1\n";
        String idle = "VCPU 0 TYP   ID TGT_ID\n"
                + "SGI 0 0 0001001 0 1 0 0 -1\n"
                + "SPI 0 TYP   ID TGT_ID\n"
                + "SPI 32 0 0001001 0 1 0 0 -1\n";
        assertThat(printed("vgic-state", head + idle)).isEqualTo("GICv2, enabled: 1 SPIs\n 2 interrupts are idle\n");
        assertThat(printed("vgic-state", head + idle.replace("0001001 0 1 0 0 -1\nSPI", "1001001 0 1 6 0 3\nSPI")))
                .contains("vCPU 0 SGI 0 vCPU 0 pending, from vCPU 1 and 2, queued on vCPU 3 edge 0 KVM\n")
                .endsWith(" 1 other is idle\n");
    }

    @Test
    void eventsOfAnIts() throws IOException {
        assertThat(printed("vgic-its-state", "")).isEqualTo("The guest has mapped no event.\n");
        String device = "Device ID: 0x8, Event ID Range: [0 - 31]\n";
        assertThat(printed("vgic-its-state", device + "0 8192 0 4294967295 2 0\n"))
                .isEqualTo("""
                    Device 0x8, events 0-31: 1 mapped
                     event 0 is LPI 8192 of collection 2, no vCPU: messages are dropped
                    No event is forwarded: each passes through KVM.
                    """);
        assertThat(printed("vgic-its-state", device + "0 8192 0 1 2 1\n"))
                .contains("event 0 is LPI 8192 of collection 2, vCPU 1, delivered by GICv4 (vLPI)")
                .endsWith("1 of 1 events is forwarded: GICv4 delivers without KVM.\n");
    }

    @Test
    void jsonHasEveryInterruptAndEvent() throws IOException {
        String head = "vgic_model: GICv2\nnr_spis: 1\nenabled: 1\n";
        assertThat(printed("vgic-state", head + "SPI 32 -1 0101010 112 ff 3 160 0\n", true))
                .isEqualTo("{\"schema\":\"kvmirq.vgic-state/1\",\"model\":\"GICv2\",\"initialized\":true,"
                        + "\"enabled\":true,\"spis\":1,\"lpis\":null,\"hasAllLpis\":true,\"forwarded\":0,"
                        + "\"interrupts\":[{\"kind\":\"SPI\",\"owner\":null,\"id\":32,\"target\":null,"
                        + "\"pending\":true,\"pendingLatch\":false,\"lineHigh\":true,\"active\":false,"
                        + "\"enabled\":true,\"level\":true,\"group\":0,\"delivery\":\"software\","
                        + "\"hardwareId\":112,\"targets\":\"0xff\",\"sources\":\"0x3\",\"priority\":160,"
                        + "\"queuedOn\":0}]}\n");
        String device = "Device ID: 0x8, Event ID Range: [0 - 31]\n";
        String row = "0 8192 0 4294967295 2 0\n1 8193 0 1 2 1\n";
        assertThat(printed("vgic-its-state", device + row, true))
                .isEqualTo("{\"schema\":\"kvmirq.vgic-its-state/1\",\"devices\":[{\"id\":\"0x8\",\"lastEvent\":31,"
                        + "\"events\":[{\"event\":0,\"lpi\":8192,\"hardwareId\":0,\"target\":null,"
                        + "\"collection\":2,\"forwarded\":false},{\"event\":1,\"lpi\":8193,\"hardwareId\":0,"
                        + "\"target\":1,\"collection\":2,\"forwarded\":true}]}]}\n");
    }
}
