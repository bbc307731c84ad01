/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.mirror.PredictedIrte;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The mirror, told of vCPUs and inhibits by the fake's tracepoints alone, beside the hardware of the fake. As in {@link
 * MirrorAgreementTest} both share the rules of {@code io.kvmirq.arch}.
 */
class TracedAgreementTest {
    private static final int PROGRAMS = 40;
    private static final int MANY_PROGRAMS = 10_000;
    private static final int STEPS = 25;
    private static final int ALL = Integer.MAX_VALUE;
    private static final int SEEDS_OF_A_MUTANT = 20;
    /** The physical APIC ids of the fake's processors. */
    private static final Map<Integer, Integer> APIC_IDS = Map.of(0, 0, 1, 2, 2, 4, 3, 6);

    /** @return how many predicted fields followed a schedule */
    private static long play(
            String profile, long seed, Map<Integer, Integer> apicIds, int most, Predicate<TraceEvent> reads) {
        Set<Class<? extends PredictedIrte>> forms = new HashSet<>();
        StringBuilder steps = new StringBuilder(profile + ", seed " + seed + ":");
        try (MirrorPlay play = new MirrorPlay(
                profile, seed, forms, fake -> Optional.of(new TracedSchedule(fake, apicIds, most, reads)))) {
            for (int i = 0; i < STEPS; i++) {
                steps.append(' ').append(play.step()).append(';');
                play.tell();
                assertThat(play).as("%s", steps).satisfies(MirrorPlay::compare);
            }
            return play.known();
        }
    }

    private static long plays(String profile, int programs, int most) {
        return LongStream.range(0, programs)
                .map(seed -> play(profile, seed, APIC_IDS, most, event -> true))
                .sum();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "vtd-posting",
                "6.12,vtd-posting",
                "amd-avic",
                "6.12,amd-avic",
                "avic-inhibited",
                "6.12,avic-inhibited"
            })
    void mirrorFollowsTheTrace(String profile) {
        // Up to 6.16 no tracepoint that is read says when a vCPU has applied an inhibit.
        assertThat(plays(profile, PROGRAMS, ALL))
                .isGreaterThan(profile.contains("inhibited") ? -1 : PROGRAMS * STEPS / 5);
    }

    @Tag("long")
    @ParameterizedTest
    @ValueSource(
            strings = {
                "vtd-posting",
                "6.12,vtd-posting",
                "amd-avic",
                "6.12,amd-avic",
                "avic-inhibited",
                "6.12,avic-inhibited"
            })
    void mirrorFollowsManyTraces(String profile) {
        plays(profile, MANY_PROGRAMS, ALL);
    }

    /** A buffer of three events loses some in most steps. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void lostEventsNeverMakeAWrongPrediction(String profile) {
        long known = plays(profile, PROGRAMS, 3);
        assertThat(known).isBetween(1L, plays(profile, PROGRAMS, ALL) - 1);
    }

    /** The comparison sees a kernel that leaves out sched_switch, and a reader that takes one CPU for another. */
    @ParameterizedTest
    @CsvSource({
        "vtd-posting, sched_switch, 4",
        "amd-avic, sched_switch, 4",
        "vtd-posting, none, 6",
        "amd-avic, none, 6",
    })
    void wrongReaderIsSeen(String profile, String leftOut, int idOfCpu2) {
        Map<Integer, Integer> apicIds = Map.of(0, 0, 1, 2, 2, idOfCpu2, 3, 10 - idOfCpu2);
        assertThat(LongStream.range(0, SEEDS_OF_A_MUTANT).filter(seed -> isSeen(profile, seed, apicIds, leftOut)))
                .isNotEmpty();
    }

    private static boolean isSeen(String profile, long seed, Map<Integer, Integer> apicIds, String leftOut) {
        try {
            play(profile, seed, apicIds, ALL, event -> !event.name().equals(leftOut));
            return false;
        } catch (AssertionError e) {
            return true;
        }
    }
}
