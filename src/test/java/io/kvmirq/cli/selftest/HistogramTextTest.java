/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.selftest.Result;
import java.util.List;
import org.junit.jupiter.api.Test;

class HistogramTextTest {
    private static final String BAR = "(?m)^FAKE     below +[0-9.]+ µs  #* +[0-9]+$";

    @Test
    void barsAreAsRecorded() {
        Result.Latency latency = new Result.Latency(
                9_000,
                20_000,
                60_000,
                100_000,
                7_399_000,
                List.of(
                        new Result.Bar(16_384, 1),
                        new Result.Bar(32_768, 800),
                        new Result.Bar(65_536, 0),
                        new Result.Bar(131_072, 190),
                        new Result.Bar(7_399_001, 9)));
        assertThat(String.join("\n", HistogramText.of(latency))).isEqualTo("""
                below       16.4 µs  #                                        1
                below       32.8 µs  ######################################## 800
                below       65.5 µs                                           0
                below      131.1 µs  ##########                               190
                below     7399.0 µs  #                                        9""");
    }

    @Test
    void histogramIsDrawnWhenAskedAndNotInJson() {
        String[] words = "selftest --backend fake --scenario edge --count 40".split(" ");
        assertThat(Cli.run(words).exited(0).out()).doesNotContain("below ");
        String drawn = with(words, "--histogram").out();
        assertThat(drawn).containsPattern(BAR);
        assertThat(drawn.lines()
                        .filter(line -> line.matches(BAR))
                        .mapToInt(line -> Integer.parseInt(line.substring(line.lastIndexOf(' ') + 1)))
                        .sum())
                .isEqualTo(40);
        assertThat(with(words, "--histogram", "--json").out()).doesNotContain("below ");
    }

    private static Cli.Ended with(String[] words, String... more) {
        String[] all = new String[words.length + more.length];
        System.arraycopy(words, 0, all, 0, words.length);
        System.arraycopy(more, 0, all, words.length, more.length);
        return Cli.run(all).exited(0);
    }
}
