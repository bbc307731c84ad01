/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.Field;
import java.util.Arrays;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class FlagsTest {
    static Stream<Predicate<UnitCapabilities>> flags() {
        return Stream.of(
                UnitCapabilities::hasPosting,
                UnitCapabilities::hasRemapping,
                UnitCapabilities::hasX2apicDestinations,
                UnitCapabilities::hasQueuedInvalidation,
                UnitCapabilities::isCoherent,
                UnitCapabilities::isCachingMode,
                UnitCapabilities::flushesInterruptCache,
                UnitCapabilities::hasSnoopControl,
                UnitCapabilities::hasPassThrough);
    }

    @ParameterizedTest
    @MethodSource("flags")
    void flagIsOneBitOfTheTwoRegisters(Predicate<UnitCapabilities> flag) {
        assertThat(flag).rejects(new UnitCapabilities(0, 0));
        assertThat(flag).accepts(new UnitCapabilities(-1, -1));
        long bits = Stream.iterate(1L, bit -> bit << 1)
                .limit(Long.SIZE)
                .flatMap(bit -> Stream.of(new UnitCapabilities(bit, 0), new UnitCapabilities(0, bit)))
                .filter(flag)
                .count();
        assertThat(bits).isEqualTo(1);
    }

    @Test
    void reasonsAreNumberedInOrder() {
        assertThat(FaultReason.values())
                .extracting(FaultReason::number)
                .containsExactly(0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28);
        assertThat(FaultReason.values()).filteredOn(FaultReason::isOfEntry).hasSize(5);
    }

    @Test
    void sourceIsPrinted() {
        assertThat(Arrays.stream(Irte.sourceFields()).map(Field::name)).containsExactly("sid", "sq", "svt");
        assertThat(new Source(0x3b10, 0, 1)).hasToString("3b:02.0 sq 0 svt 1");
    }
}
