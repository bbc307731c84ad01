/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import java.io.IOException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class UnitCapabilitiesTest {
    private static Stream<Golden> golden() throws IOException {
        return Golden.of("vtd.cap_ecap");
    }

    @ParameterizedTest
    @MethodSource("golden")
    void registersAreReadAsTheKernelReadsThem(Golden golden) {
        UnitCapabilities unit = new UnitCapabilities(golden.array()[0], golden.array()[1]);
        assertThat(unit.is(UnitCapabilities.POSTING)).isEqualTo(golden.bit("pi"));
        assertThat(unit.is(UnitCapabilities.FLUSHES_INTERRUPTS)).isEqualTo(golden.bit("esirtps"));
        assertThat(unit.is(UnitCapabilities.CACHING)).isEqualTo(golden.bit("cm"));
        assertThat(unit.get(UnitCapabilities.DOMAINS)).isEqualTo(golden.field("ndoms"));
        assertThat(unit.get(UnitCapabilities.ADDRESS_WIDTH)).isEqualTo(golden.field("mgaw"));
        assertThat(unit.get(UnitCapabilities.FAULT_REGISTERS)).isEqualTo(golden.field("nfr"));
        assertThat(unit.get(UnitCapabilities.FAULT_OFFSET)).isEqualTo(golden.field("fro"));
        assertThat(unit.is(UnitCapabilities.REMAPPING)).isEqualTo(golden.bit("ir"));
        assertThat(unit.is(UnitCapabilities.EXTENDED)).isEqualTo(golden.bit("eim"));
        assertThat(unit.is(UnitCapabilities.QUEUED)).isEqualTo(golden.bit("qi"));
        assertThat(unit.is(UnitCapabilities.COHERENT)).isEqualTo(golden.bit("coherent"));
        assertThat(unit.get(UnitCapabilities.HANDLE_MASK)).isEqualTo(golden.field("mhmv"));
        assertThat(unit.is(UnitCapabilities.SNOOP)).isEqualTo(golden.bit("sc"));
        assertThat(unit.is(UnitCapabilities.PASS_THROUGH)).isEqualTo(golden.bit("pt"));
        assertThat(unit.violations()).isEmpty();
    }

    @Test
    void largestValuesAreUnsigned() {
        UnitCapabilities unit = new UnitCapabilities(-1, -1);
        assertThat(unit.get(UnitCapabilities.ADDRESS_WIDTH)).isEqualTo(64);
        assertThat(unit.get(UnitCapabilities.FAULT_REGISTERS)).isEqualTo(256);
        assertThat(unit.get(UnitCapabilities.FAULT_OFFSET)).isEqualTo(0x3ff0);
        assertThat(unit.get(UnitCapabilities.DOMAINS)).isEqualTo(1 << 18);
        assertThat(unit.violations())
                .extracting(Violation::toString)
                .containsExactly("ndoms: ND 7 is reserved, and is treated as 2^18");
    }
}
