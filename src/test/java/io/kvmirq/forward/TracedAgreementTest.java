/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.MirrorPlay.Counts;
import io.kvmirq.forward.MirrorPlay.Feed;
import io.kvmirq.forward.MirrorPlay.Kind;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.testing.Choices;
import java.util.Map;
import java.util.function.Predicate;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The programs of {@link MirrorAgreementTest} with a reader of the trace that loses events, or that is wrong. */
class TracedAgreementTest {
    private static final int PROGRAMS = 40;
    private static final int STEPS = 25;
    private static final int ALL = Integer.MAX_VALUE;
    private static final int SEEDS_OF_A_MUTANT = 40;
    /** The physical APIC ids of the fake's processors. */
    private static final Map<Integer, Integer> APIC_IDS = Map.of(0, 0, 1, 2, 2, 4, 3, 6);

    private static void play(
            String profile,
            long seed,
            Counts counts,
            Map<Integer, Integer> apicIds,
            int max,
            Predicate<TraceEvent> reads)
            throws Exception {
        Choices random = Choices.of(seed);
        StringBuilder steps = new StringBuilder(profile + ", seed " + seed + ":");
        try (MirrorPlay play = new MirrorPlay(
                profile,
                Feed.TRACE,
                Kind.ALL,
                random,
                counts,
                (fake, threads) -> new TracedSchedule(fake, threads, apicIds, max, reads))) {
            while (random.step(STEPS)) {
                steps.append(' ').append(play.step()).append(';');
                assertThat(play).as("%s", steps).satisfies(MirrorPlay::compare);
            }
        }
    }

    private static long predicted(String profile, int max) throws Exception {
        Counts counts = new Counts();
        for (long seed = 0; seed < PROGRAMS; seed++) {
            play(profile, seed, counts, APIC_IDS, max, event -> true);
        }
        return counts.predicted;
    }

    /** A buffer of three events loses some in most steps. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void lostEventsNeverMakeAWrongPrediction(String profile) throws Exception {
        assertThat(predicted(profile, 3)).isBetween(1L, predicted(profile, ALL) - 1);
    }

    /** The comparison sees a kernel that leaves out sched_switch, and a reader that takes one CPU for another. */
    @ParameterizedTest
    @CsvSource({
        "vtd-posting, sched_switch, 4",
        "amd-avic, sched_switch, 4",
        "vtd-posting, none, 6",
        "amd-avic, none, 6",
    })
    void wrongReaderIsSeen(String profile, String leftOut, int idOfCpu2) throws Exception {
        Map<Integer, Integer> apicIds = Map.of(0, 0, 1, 2, 2, idOfCpu2, 3, 10 - idOfCpu2);
        boolean seen = false;
        for (long seed = 0; seed < SEEDS_OF_A_MUTANT && !seen; seed++) {
            try {
                play(profile, seed, new Counts(), apicIds, ALL, event -> !event.name()
                        .equals(leftOut));
            } catch (AssertionError e) {
                seen = true;
            }
        }
        assertThat(seen).isTrue();
    }
}
