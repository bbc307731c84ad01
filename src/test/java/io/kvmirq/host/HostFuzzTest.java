/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.PciAddress;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.CpuTime;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Files of a host with any content: facts, and no exception. */
class HostFuzzTest {
    private static final String DURATION = "60s";

    /** Any configuration space. */
    @FuzzTest(maxDuration = DURATION)
    void configSpace(byte[] bytes) {
        PciCapabilities config = PciCapabilities.parse(bytes);
        assertThat(config.msiVectors()).isBetween(0, 32);
        assertThat(config.msixVectors()).isBetween(0, 2048);
        assertThat(config.interruptPin().isPresent()).isEqualTo(bytes.length >= PciCapabilities.PUBLIC_BYTES);
        assertThat(config.isComplete()).isEqualTo(bytes.length >= PciCapabilities.BYTES);
        if (config.isExpress()) {
            assertThat(bytes.length).isGreaterThan(PciCapabilities.PUBLIC_BYTES);
        }
    }

    /** Any /proc/interrupts. */
    @FuzzTest(maxDuration = DURATION)
    void interrupts(byte[] bytes) {
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> {
            HostInterrupts interrupts = new HostInterrupts(bytes);
            interrupts.armed(PciAddress.parse("0000:00:02.0")).forEach(armed -> assertThat(armed.vector())
                    .isBetween(0, 9999));
            interrupts.hasChip("IR-");
        });
    }

    /** Any text in each file that decides of posting. */
    @FuzzTest(maxDuration = DURATION)
    void posting(byte[] bytes) throws IOException {
        String text = new String(bytes, StandardCharsets.UTF_8);
        for (String path : List.of(
                "proc/cpuinfo",
                "proc/cmdline",
                "proc/interrupts",
                "proc/version",
                "sys/module/kvm_amd/parameters/avic",
                "sys/class/iommu/ivhd0/amd-iommu/features")) {
            HostFacts facts =
                    new HostFacts(RecordedHost.of("amd-6.12").put(path, text).tree());
            CpuTime.within(CpuTime.OF_AN_INPUT, () -> {
                assertThat(facts.posting().host().isEmpty())
                        .isNotEqualTo(facts.posting().unreadable().isEmpty());
                facts.posting().gicv4();
                facts.posting().avicKernel();
            });
        }
    }
}
