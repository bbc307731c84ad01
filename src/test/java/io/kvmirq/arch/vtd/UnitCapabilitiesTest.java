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
        assertThat(unit.hasPosting()).isEqualTo(golden.bit("pi"));
        assertThat(unit.flushesInterruptCache()).isEqualTo(golden.bit("esirtps"));
        assertThat(unit.isCachingMode()).isEqualTo(golden.bit("cm"));
        assertThat(unit.domainCount()).isEqualTo((int) golden.field("ndoms"));
        assertThat(unit.addressWidth()).isEqualTo((int) golden.field("mgaw"));
        assertThat(unit.faultRegisters()).isEqualTo((int) golden.field("nfr"));
        assertThat(unit.faultOffset()).isEqualTo((int) golden.field("fro"));
        assertThat(unit.hasRemapping()).isEqualTo(golden.bit("ir"));
        assertThat(unit.hasX2apicDestinations()).isEqualTo(golden.bit("eim"));
        assertThat(unit.hasQueuedInvalidation()).isEqualTo(golden.bit("qi"));
        assertThat(unit.isCoherent()).isEqualTo(golden.bit("coherent"));
        assertThat(unit.handleMask()).isEqualTo((int) golden.field("mhmv"));
        assertThat(unit.hasSnoopControl()).isEqualTo(golden.bit("sc"));
        assertThat(unit.hasPassThrough()).isEqualTo(golden.bit("pt"));
        assertThat(unit.violations()).isEmpty();
    }

    @Test
    void largestValuesAreUnsigned() {
        UnitCapabilities unit = new UnitCapabilities(-1, -1);
        assertThat(unit.addressWidth()).isEqualTo(64);
        assertThat(unit.faultRegisters()).isEqualTo(256);
        assertThat(unit.faultOffset()).isEqualTo(0x3ff0);
        assertThat(unit.domainCount()).isEqualTo(1 << 18);
        assertThat(unit.violations())
                .extracting(Violation::toString)
                .containsExactly("ndoms: ND 7 is reserved, and is taken for 2^18");
    }
}
