/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.vtd.Source;
import org.junit.jupiter.api.Test;

class FlagsTest {
    @Test
    void reasonsAreNumberedInOrder() {
        assertThat(FaultReason.values())
                .extracting(FaultReason::number)
                .containsExactly(0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28);
        assertThat(FaultReason.values()).filteredOn(FaultReason::isOfEntry).hasSize(5);
    }

    @Test
    void sourceIsPrinted() {
        assertThat(new Source(0x3b10, 0, 1)).hasToString("3b:02.0 sq 0 svt 1");
    }
}
