/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.vtd.posting.PostedRaces;
import io.kvmirq.arch.vtd.posting.PostedVariant;
import io.kvmirq.explorer.Verdicts;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

@Tag("search")
class RacesTest {
    private static Stream<Verdicts<?, ?>> tables() {
        return RacesReport.PARTS.stream().map(RacesReport.Part::verdicts);
    }

    @ParameterizedTest
    @MethodSource("tables")
    void everyVariantEndsInEveryScenarioAsItIsSaidTo(Verdicts<?, ?> table) {
        Verdicts.Printed printed = table.print();
        assertThat(printed.unexpected()).as(printed.text()).isZero();
    }

    @ParameterizedTest
    @EnumSource(
            value = PostedVariant.class,
            names = {"TODAY", "UP_TO_6_16", "WITH_BARRIERS", "PIR_OR_ON", "ON_SN_STORE"})
    void repairKeepsEverywhere(PostedVariant repair) {
        assertThat(PostedRaces.VERDICTS.expected(repair).values()).containsOnly("..");
    }
}
