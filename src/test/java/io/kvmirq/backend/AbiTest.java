/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class AbiTest {
    private static final Abi OURS = Abi.OURS;

    @Test
    void otherVersionIsRefusedNamingBoth() {
        for (int version : new int[] {OURS.version() - 1, OURS.version() + 1}) {
            Abi library = new Abi(version, OURS.routeSize(), OURS.irqchipSize(), OURS.vfioIrqSize(), OURS.irqfdSize());
            assertThatThrownBy(() -> library.requireFits("/x/libkvmirq.so"))
                    .isInstanceOf(BackendUnavailableException.class)
                    .hasMessage("/x/libkvmirq.so has ABI " + version + ", but this kvmirq needs " + OURS
                            + ": use the library and the jar of one release");
        }
    }

    @Test
    void otherRecordSizesAreRefusedNamingBoth() {
        assertThatThrownBy(() -> new Abi(OURS.version(), 48, 512, 8, 8).requireFits("lib"))
                .hasMessageContaining(
                        "records of 48, 512, 8 and 8 bytes (route, irqchip, vfio irq, irqfd), this kvmirq of 40, 512, 8 and 8");
        assertThatThrownBy(() -> new Abi(OURS.version(), 40, 512, 12, 8).requireFits("lib"))
                .hasMessageContaining("records of 40, 512, 12 and 8 bytes");
    }
}
