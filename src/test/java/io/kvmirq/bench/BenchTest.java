/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.bench.Bench.Row;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BenchTest {
    private static final double[] THEIRS =
            IntStream.range(0, 101).mapToDouble(i -> 100 + i / 10.0).toArray();

    private static String line(double max, double[] ours, double[] theirs) {
        return new Bench("calls", BenchTest.class).line(new Row("jni / C", max, "write", "writeInC"), ours, theirs);
    }

    private static double[] times(double factor, double[] samples) {
        return IntStream.range(0, samples.length)
                .mapToDouble(i -> factor * samples[i])
                .toArray();
    }

    @Test
    void ratioIsTakenWithinARoundAndComparedWithItsGoal() {
        String jdk = ", JDK " + Runtime.version().feature();
        assertThat(line(1.2, times(1.1, THEIRS), THEIRS))
                .isEqualTo("| calls: jni / C" + jdk + " | 1.100 | 1.00 | 1.100 | ≤ 1.20 met |");
        assertThat(line(1.05, times(1.1, THEIRS), THEIRS)).endsWith("| ≤ 1.05 missed |");
        assertThat(line(Double.NaN, times(1.1, THEIRS), THEIRS)).endsWith(" | 1.100 |  |");
    }

    /** One disturbed round of each side changes neither the median nor the tenth. */
    @Test
    void disturbedRoundsDoNotCount() {
        double[] ours = times(1.1, THEIRS);
        double[] theirs = THEIRS.clone();
        ours[3] *= 9;
        theirs[50] *= 9;
        assertThat(line(1.2, ours, theirs)).contains(" | 1.100 | 1.00 | 1.10");
    }

    @Test
    void referenceThatVariesIsNotCalm() {
        double[] theirs = IntStream.range(0, 100).mapToDouble(i -> 100 + i).toArray();
        assertThat(line(1.2, theirs, theirs)).endsWith("met not calm |");
    }
}
