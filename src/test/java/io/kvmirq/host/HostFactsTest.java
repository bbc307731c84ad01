/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
        HostFacts host = new HostFacts(HostFiles.of(Path.of("/")));
        assertThat(host.kernel()).contains(System.getProperty("os.version"));
        for (PciAddress address : host.pciAddresses()) {
            assertThat(VfioOutlook.of(host, host.pci(address).orElseThrow()).irqs())
                    .hasSize(5);
        }
    }
}
