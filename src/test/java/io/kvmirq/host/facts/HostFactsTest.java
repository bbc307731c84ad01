/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.rules.VfioOutlook;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class HostFactsTest {
    @TempDir
    private Path temporary;

    @Test
    void directoryAndMemoryShowTheSame() throws Exception {
        RecordedHost recorded = RecordedHost.of("amd-7.1");
        HostFacts memory = new HostFacts(recorded.tree());
        HostFacts directory = new HostFacts(recorded.writeTo(temporary));
        assertThat(directory.kernel()).isEqualTo(memory.kernel()).contains("7.1.8");
        assertThat(directory.iommus()).isEqualTo(memory.iommus()).containsExactly("ivhd0");
        assertThat(directory.pciAddresses()).isEqualTo(memory.pciAddresses()).hasSize(9);
        for (PciAddress address : memory.pciAddresses()) {
            assertThat(directory.pci(address).orElseThrow())
                    .usingRecursiveComparison()
                    .isEqualTo(memory.pci(address).orElseThrow());
        }
    }

    @Test
    void thisMachineCanBeRead() {
        HostFacts host = new HostFacts(HostFiles.at(Path.of("/")));
        assertThat(host.kernel()).contains(System.getProperty("os.version"));
        for (PciAddress address : host.pciAddresses()) {
            assertThat(VfioOutlook.read(host, host.pci(address).orElseThrow()).irqs())
                    .hasSize(5);
        }
    }

    /** Linux takes a dash and an underline in the name of a parameter for the same. */
    @ParameterizedTest
    @CsvSource({
        "kvm-arm.vgic_v4_enable=1, ",
        "kvm_arm.vgic_v4_enable=1, ",
        "kvm-arm.vgic-v4-enable=1, ",
        "\"kvm_arm.vgic_v4_enable=1\", ",
        "kvm-arm.vgic_v4_enable=1 kvm_arm.vgic_v4_enable=0, false",
        "kvm-arm.vgic_v4_enable, false",
        "kvm-arm.vgic_v4=1, false"
    })
    void parameterOfGicv4IsReadAsTheKernelDoes(String line, @Nullable Boolean used) {
        RecordedHost host = new RecordedHost()
                .put("proc/interrupts", " 11:  5  GICv3  27 Level  arch_timer\n")
                .put("proc/cmdline", "root=/dev/vda " + line + "\n");
        assertThat(new HostFacts(host.tree()).posting().gicv4()).isEqualTo(Optional.ofNullable(used));
    }

    /** The keys have one hash: a map that computes a value in its own bin refuses another one there. */
    @Test
    void factMayNeedAnotherWhateverTheirHashes() {
        HostFacts host = new HostFacts(HostFiles.of(Map.of(), Map.of()));
        assertThat("Aa").hasSameHashCodeAs("BB");
        assertThat(host.<String>once("Aa", () -> host.once("BB", () -> "inner") + " and outer"))
                .isEqualTo("inner and outer");
        assertThat(host.<String>once("Aa", () -> "again")).isEqualTo("inner and outer");
    }
}
