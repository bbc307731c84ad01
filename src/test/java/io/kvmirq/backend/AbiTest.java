/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class AbiTest {
    private static final Abi OURS = Abi.OURS;

    private static Abi library(int major, int minor) {
        return new Abi(major, minor, OURS.routeSize(), OURS.irqchipSize(), OURS.vfioIrqSize(), OURS.irqfdSize());
    }

    @Test
    void newerMinorOnlyAdds() {
        library(OURS.major(), OURS.minor() + 1).requireFits("lib");
    }

    @Test
    void otherMajorIsRefusedNamingBoth() {
        assertThatThrownBy(() -> library(2, 0).requireFits("/x/libkvmirq.so"))
                .isInstanceOf(BackendUnavailableException.class)
                .hasMessage("/x/libkvmirq.so speaks ABI 2.0, this kvmirq speaks " + OURS
                        + ": use the library and the jar of one release");
        assertThatThrownBy(() -> library(0, 9).requireFits("lib")).hasMessageContaining("ABI 0.9");
    }

    @Test
    void olderMinorLacksFunctionsAndIsRefused() {
        assertThatThrownBy(() -> library(OURS.major(), OURS.minor() - 1).requireFits("lib"))
                .hasMessage("lib speaks ABI 1." + (OURS.minor() - 1) + ", this kvmirq speaks " + OURS
                        + ": use the library and the jar of one release");
    }

    @Test
    void otherRecordSizesAreRefusedNamingBoth() {
        assertThatThrownBy(() -> new Abi(1, OURS.minor(), 48, 512, 8, 8).requireFits("lib"))
                .hasMessageContaining(
                        "records of 48, 512, 8 and 8 bytes (route, irqchip, vfio irq, irqfd), this kvmirq of 40, 512, 8 and 8");
        assertThatThrownBy(() -> new Abi(1, OURS.minor(), 40, 512, 12, 8).requireFits("lib"))
                .hasMessageContaining("records of 40, 512, 12 and 8 bytes");
    }
}
