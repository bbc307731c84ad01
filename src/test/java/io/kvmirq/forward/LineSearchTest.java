/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.LineSearch.Figures;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A line is never stuck, whatever happens to its forwarding while it is asserted and in service. */
class LineSearchTest {
    private static final int SEEDS = 50;

    @ParameterizedTest
    @ValueSource(
            strings = {"6.1,arm64", "6.12,arm64", "gicv4", "vtd-posting", "6.12,vtd", "amd-avic", "6.12,avic-inhibited"
            })
    void lineIsNeverStuck(String profile) {
        Figures figures = LineSearch.run(profile, SEEDS);
        assertThat(figures.requests).isGreaterThan(1000);
        assertThat(figures.interrupts).isGreaterThan(1000);
    }
}
