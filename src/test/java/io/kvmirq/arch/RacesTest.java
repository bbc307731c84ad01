/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostedRaces;
import io.kvmirq.arch.apic.Scenario;
import io.kvmirq.arch.apic.Variant;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("search")
class RacesTest {
    @Test
    void everyVariantEndsInEveryScenarioAsItIsSaidTo() {
        PostedRaces.found()
                .forEach((variant, found) ->
                        assertThat(found).as(variant.name()).isEqualTo(PostedRaces.expected(variant)));
    }

    /** A scenario in which nothing can lose shows nothing. */
    @ParameterizedTest
    @EnumSource
    void someVariantLosesInTheScenario(Scenario scenario) {
        assertThat(Variant.values())
                .anyMatch(variant ->
                        PostedRaces.expected(variant).getOrDefault(scenario, "").endsWith("L"));
    }

    @ParameterizedTest
    @EnumSource(
            value = Variant.class,
            names = {"TODAY", "WITH_BARRIERS", "PIR_OR_ON", "ON_SN_STORE"})
    void repairKeepsEverywhere(Variant repair) {
        Map<Scenario, String> verdicts = PostedRaces.expected(repair);
        assertThat(verdicts.values()).containsOnly("..");
    }
}
