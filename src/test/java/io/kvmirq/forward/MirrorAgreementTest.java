/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.mirror.PredictedIrte;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The mirror's predictions beside the hardware of the fake, through random schedules of forwarding, masking, rerouting,
 * vCPU moves and interrupts. This shows that our own parts are consistent, and nothing more: the mirror and the fake
 * share the rules of {@code io.kvmirq.arch}, so a wrong rule agrees with itself. The evidence for the rules is what
 * stock kernels did in the lab.
 */
class MirrorAgreementTest {
    private static final int SCHEDULES = 15;
    private static final int STEPS = 80;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "vtd",
                "vtd-posting",
                "6.12,vtd-posting",
                "amd-avic",
                "6.12,amd-avic",
                "avic-inhibited",
                "6.12,avic-inhibited"
            })
    void predictionsAgreeWithTheFakesHardware(String profile) {
        Set<Class<? extends PredictedIrte>> forms = new HashSet<>();
        for (long seed = 0; seed < SCHEDULES; seed++) {
            StringBuilder steps = new StringBuilder(profile + ", seed " + seed + ":");
            try (MirrorPlay play = new MirrorPlay(profile, seed, forms)) {
                for (int i = 0; i < STEPS; i++) {
                    steps.append(' ').append(play.step()).append(';');
                    play.tell();
                    assertThat(play).as("%s", steps).satisfies(MirrorPlay::compare);
                }
            }
        }
        boolean posts = profile.contains("posting") || profile.contains("amd");
        assertThat(forms).hasSize(posts ? 2 : 1);
    }
}
