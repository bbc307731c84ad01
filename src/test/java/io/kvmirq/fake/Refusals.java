/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.FileAnswer;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/** The calls that fakes have refused, for tests of other packages. */
public final class Refusals {
    /**
     * A call that was refused.
     *
     * @param request of an ioctl; 0 for others
     * @param facts what was known of kernel and VM, by the labels of {@code io.kvmirq.explain.Condition}
     */
    public record Refused(Answer rule, String call, long request, List<String> facts) {}

    private Refusals() {}

    /** The rules that a fake has used. */
    public static Set<Answer> rules(FakeKernel fake) {
        return Answers.rules(fake.rulesUsed());
    }

    public static Stream<Refused> of(FakeKernel fake) {
        return fake.refusals().stream()
                .map(refusal ->
                        new Refused(refusal.rule(), refusal.call(), refusal.request(), facts(fake.profile(), refusal)));
    }

    private static List<String> facts(Profile profile, Refusal refusal) {
        List<String> facts = new ArrayList<>(refusal.facts());
        facts.add(profile.isArm64() ? "arm64" : "x86");
        // A switch makes a kernel be like one of another age in that.
        if (profile.build().irqfdHostWide() == profile.build().isSince(6, 17)) {
            facts.add(profile.build().isSince(6, 17) ? "since-6.17" : "before-6.17");
        }
        if (refusal.rule() == FileAnswer.FOREIGN_PROCESS) {
            facts.add("foreign");
        }
        return List.copyOf(facts);
    }
}
