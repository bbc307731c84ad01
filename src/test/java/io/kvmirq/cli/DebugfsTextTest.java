/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class DebugfsTextTest {
    private static final String HEAD = "vgic_model: GICv3\nnr_spis: 1\nnr_lpis: %d\nenabled: 1\n";

    private static String printed(String kind, String text) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(
                new PrintStream(out, true, StandardCharsets.UTF_8),
                new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8),
                false,
                Terminal.DEFAULT_COLUMNS,
                0);
        new DebugfsText(terminal).print(kind, new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)));
        return out.toString(StandardCharsets.UTF_8).replaceAll(" +", " ");
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
                .endsWith("1 of 1 LPIs are forwarded: GICv4 delivers without KVM.\n");
    }

    @Test
    void fileThatIsCutOffProvesNothing() {
        assertThatThrownBy(() -> printed("vgic-state", HEAD.formatted(3) + "SPI 32 0 0001001 0 0 0 160 -1\n"))
                .hasMessage("vgic-state has 1 of 1 SPIs and 0 of 3 LPIs: expected the whole file, of a VGIC that is"
                        + " initialized");
        assertThatThrownBy(() -> printed("vgic-state", HEAD.formatted(0))).hasMessageContaining("0 of 1 SPIs");
    }

    @Test
    void eventsOfAnIts() throws IOException {
        assertThat(printed("vgic-its-state", "")).isEqualTo("The guest has mapped no event.\n");
        String device = "Device ID: 0x8, Event ID Range: [0 - 31]\n";
        assertThat(printed("vgic-its-state", device + "0 8192 0 4294967295 2 0\n"))
                .isEqualTo("""
                        Device 0x8, events 0–31: 1 mapped
                         event 0 is LPI 8192 of collection 2, no vCPU: messages are dropped
                        No event is forwarded: each passes through KVM.
                        """);
        assertThat(printed("vgic-its-state", device + "0 8192 0 1 2 1\n"))
                .contains("event 0 is LPI 8192 of collection 2, vCPU 1, delivered by GICv4 (vLPI)")
                .endsWith("1 of 1 events are forwarded: GICv4 delivers without KVM.\n");
    }
}
