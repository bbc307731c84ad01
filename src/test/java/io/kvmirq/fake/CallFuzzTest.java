/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Search;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The promise of the fake for every call: see {@link CallFuzz}. {@code make fuzz} makes ten million. */
class CallFuzzTest {
    private static final List<String> PROFILES = List.of(
            "6.1",
            "6.12",
            "6.18",
            "7.1,split",
            "6.12,cdev",
            "vtd-posting",
            "amd-avic",
            "6.1,arm64",
            "6.12,arm64",
            "gicv2",
            "gicv4",
            "historic");

    private static final int ROUND = 400;
    private static final int FEW = PROFILES.size() * ROUND;
    private static final int MOST_FLAWS = 20;

    private static String causeOf(AssertionError flaw) {
        return flaw.getCause() == null
                ? ""
                : "\nat " + List.of(flaw.getCause().getStackTrace()).subList(0, 6);
    }

    @Test
    void calls() {
        int calls = Integer.getInteger("kvmirq.test.calls", FEW);
        int digests = calls > FEW ? 40 : 4;
        Map<String, Integer> answers = new TreeMap<>();
        Map<String, String> flaws = new TreeMap<>();
        long first = Search.only().orElse(0);
        int most = Search.only().isPresent() ? 1 : MOST_FLAWS;
        for (long round = first; round < first + (calls + ROUND - 1) / ROUND && flaws.size() < most; round++) {
            long seed = round;
            String profile = PROFILES.get((int) (round % PROFILES.size()));
            CallFuzz[] fuzz = new CallFuzz[1];
            try {
                Search.run(profile + " calls", seed, 1, random -> {
                    fuzz[0] = new CallFuzz(profile, seed, random, digests, answers);
                    fuzz[0].run(ROUND);
                });
            } catch (AssertionError e) {
                flaws.putIfAbsent(fuzz[0].judge().flaw(), e.getMessage() + causeOf(e));
            }
        }
        assertThat(flaws.values()).isEmpty();
        assertThat(answers).containsKeys("ok", "EINVAL", "EFAULT", "EBADF", "not modelled");
        if (calls > FEW) {
            System.out.println("calls: " + calls + " calls, none failed: " + answers);
        }
    }
}
