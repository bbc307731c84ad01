/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.kvmirq.testing.RealKvm;
import java.io.FileInputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code make soak} notices what grows. */
class SoakTest {
    private static final Storm.Load BRIEF = new Storm.Load(5, 1, 1);

    /** A figure with noise that grows by a rate a minute, and may grow by 1. */
    private static Trend trend(double rate) {
        Trend trend = new Trend("planted", 1);
        Random random = new Random(4);
        for (int minute = 0; minute < 30; minute++) {
            trend.add(minute, 1000 + rate * minute + random.nextGaussian());
        }
        return trend;
    }

    @ParameterizedTest
    @ValueSource(doubles = {-3, 0, 0.9})
    void noiseDoesNotGrow(double rate) {
        assertThat(trend(rate).grows()).isFalse();
        assertThat(trend(rate).slope()).isCloseTo(rate, within(0.1));
        assertThat(trend(rate).error()).isBetween(0.01, 0.05);
    }

    @Test
    void growthBeyondTheBoundIsNamed() {
        assertThat(trend(1.2).grows()).isTrue();
        assertThat(trend(1.2)).asString().startsWith("planted ").endsWith("GROWS");
    }

    @Test
    void fewSamplesShowNoSlope() {
        Trend trend = new Trend("planted", 1);
        for (int minute = 0; minute < 4; minute++) {
            trend.add(minute, 100 * minute);
        }
        assertThat(trend.grows()).isFalse();
        assertThat(trend).asString().endsWith("too few for a slope");
    }

    /** Whole VMMs on each binding; a descriptor that stays open each time is named. */
    @Test
    @RealKvm(fullIrqchip = true)
    void leakedDescriptorIsNamed() throws Exception {
        List<FileInputStream> leaked = new ArrayList<>();
        try {
            Soak soak = new Soak(List.of("jni", "jna"), 2, BRIEF);
            soak.figure("leaked", 0.02, () -> {
                leaked.add(new FileInputStream("/dev/null"));
                return leaked.size();
            });
            assertThat(soak.run(0)).isFalse();
            assertThat(soak).asString().containsPattern("leaked +1 → .* GROWS").contains(" rounds of 2 VMMs, 0 lost");
        } finally {
            for (FileInputStream file : leaked) {
                file.close();
            }
        }
    }
}
