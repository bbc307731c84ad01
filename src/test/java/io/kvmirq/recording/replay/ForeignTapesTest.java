/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Programs of other people, recorded by {@code kvmirq tape -o} on real KVM, do the same on the fake to their end: VMMs and
 * the kernel's selftests. README.md beside the tapes tells of each.
 */
class ForeignTapesTest {
    private static final Pattern SEQUENCE = Pattern.compile("\"seq\":\\d+");
    private static final Pattern TID = Pattern.compile("\"tid\":(\\d+)");

    /** Each seed replays the whole tape: longer ones have more of the same. */
    private static final int MOST_EXCHANGED = 5000;

    @TempDir
    private Path temporary;

    static List<Path> tapes() {
        return ForeignTapes.all();
    }

    @ParameterizedTest
    @MethodSource("tapes")
    void tapeReplaysToItsEnd(Path tape) throws IOException {
        ForeignTapes.Row row = ForeignTapes.replay(tape);
        assertThat(row.end()).isEmpty();
        assertThat(row.diverged()).isFalse();
        assertThat(row.same()).isPositive();
    }

    /** Passing over is for what the fake does not model: little is left of it. */
    @Test
    void fewCallsOfVmmsArePassedOver() throws IOException {
        long passedOver = 0;
        for (Path tape : tapes()) {
            if (tape.getFileName().toString().matches("(lkvm|qemu-q35).*")) {
                passedOver += ForeignTapes.replay(tape).passedOver();
            }
        }
        assertThat(passedOver).isLessThan(60);
    }

    /** Lines of two threads that lie side by side may be of calls that overlapped: then they say nothing of the order. */
    @ParameterizedTest
    @MethodSource("tapes")
    void orderOfNeighboursOfOtherThreadsDoesNotMatter(Path tape) throws IOException {
        List<String> lines = ForeignTapes.lines(tape);
        boolean oneThread = lines.stream()
                        .map(line -> field(TID, line))
                        .filter(tid -> !tid.isEmpty())
                        .distinct()
                        .count()
                < 2;
        if (oneThread || lines.size() > MOST_EXCHANGED) {
            return;
        }
        for (int seed = 0; seed < 4; seed++) {
            List<String> other = exchanged(lines, new SplittableRandom(seed));
            if (other.equals(lines)) {
                return;
            }
            Path file = Files.write(temporary.resolve(seed + ".tape"), other);
            assertThat(ForeignTapes.replay(file).end()).isEmpty();
        }
    }

    /** Closes stand where they begin, and what makes a file comes before what uses it. */
    private static List<String> exchanged(List<String> lines, SplittableRandom random) {
        List<String> exchanged = new ArrayList<>(lines);
        for (int i = 1; i + 1 < lines.size(); i++) {
            String thread = field(TID, lines.get(i));
            String next = field(TID, lines.get(i + 1));
            boolean fixed = (lines.get(i) + lines.get(i + 1)).contains("\"call\":\"close\"")
                    || lines.get(i).contains("\"made\"")
                    || thread.isEmpty()
                    || next.isEmpty();
            if (!fixed && !thread.equals(next) && random.nextBoolean()) {
                Collections.swap(exchanged, i, i + 1);
                i++;
            }
        }
        long[] number = {0};
        exchanged.replaceAll(line -> SEQUENCE.matcher(line).replaceFirst(match -> "\"seq\":" + ++number[0]));
        return exchanged;
    }

    private static String field(Pattern name, String line) {
        Matcher matcher = name.matcher(line);
        return matcher.find() ? matcher.group(1) : "";
    }
}
