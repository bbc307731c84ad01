/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.MirrorPlay.Counts;
import io.kvmirq.forward.MirrorPlay.Feed;
import io.kvmirq.forward.MirrorPlay.Kind;
import io.kvmirq.testing.Search;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The mirror's predictions beside the hardware of the fake, through random programs of a VMM: each field is unknown or
 * equal. This shows that our own parts are consistent, and nothing more: the mirror and the fake share the rules of
 * {@code io.kvmirq.arch}, so a wrong rule agrees with itself. The evidence for the rules is what stock kernels did in
 * the lab.
 */
class MirrorAgreementTest {
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.programs", 40);
    private static final int STEPS = 60;
    private static final Map<Integer, Integer> APIC_IDS = Map.of(0, 0, 1, 2, 2, 4, 3, 6);
    /** The kinds of steps without those of {@code -Dkvmirq.test.without}, to see that a mutant needs them. */
    private static final Set<Kind> KINDS = kinds();

    private static Set<Kind> kinds() {
        Set<Kind> kinds = EnumSet.copyOf(Kind.ALL);
        Arrays.stream(System.getProperty("kvmirq.test.without", "").split(","))
                .filter(name -> !name.isEmpty())
                .map(Kind::valueOf)
                .forEach(kinds::remove);
        return kinds;
    }

    static Stream<Arguments> feeds() {
        return Stream.of(
                        "6.1,vtd-posting",
                        "6.12,vtd-posting",
                        "6.18,vtd-posting",
                        "6.1,amd-avic",
                        "6.12,amd-avic",
                        "6.18,amd-avic")
                .flatMap(profile -> Arrays.stream(Feed.values()).map(feed -> Arguments.of(profile, feed)));
    }

    private static Counts play(String profile, Feed feed, int programs) {
        Counts counts = new Counts();
        Search.run(profile + ", " + feed, 0, programs, random -> {
            List<String> steps = new ArrayList<>();
            try (MirrorPlay play = new MirrorPlay(
                    profile,
                    feed,
                    KINDS,
                    random,
                    counts,
                    (fake, threads) -> new TracedSchedule(fake, threads, APIC_IDS, Integer.MAX_VALUE, event -> true))) {
                while (random.step(STEPS)) {
                    steps.add(play.step());
                    assertThat(play).as("%s", steps).satisfies(MirrorPlay::compare);
                }
                play.end();
                assertThat(play).as("%s end", steps).satisfies(MirrorPlay::compare);
            }
        });
        System.out.println(profile + ", " + feed + ": " + counts);
        return counts;
    }

    @ParameterizedTest
    @MethodSource("feeds")
    void eachFieldIsUnknownOrThatOfTheHardware(String profile, Feed feed) {
        Counts counts = play(profile, feed, PROGRAMS);
        assertThat(counts.forms).hasSize(2);
        assertThat(counts.predicted).isGreaterThan((long) PROGRAMS * STEPS / 2);
    }

    @Tag("long")
    @ParameterizedTest
    @MethodSource("feeds")
    void eachFieldOfManyProgramsIsUnknownOrThatOfTheHardware(String profile, Feed feed) {
        play(profile, feed, 2_000);
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd", "avic-inhibited", "6.12,avic-inhibited"})
    void hostThatDoesNotPostHasRemappedEntries(String profile) {
        assertThat(play(profile, Feed.EVENTS, PROGRAMS).forms).hasSize(1);
    }
}
