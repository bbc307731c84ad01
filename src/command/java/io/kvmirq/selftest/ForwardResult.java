/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.List;
import java.util.Optional;

/**
 * The result of the self-test of a device's interrupts.
 *
 * @param answers the vectors that were triggered, in order
 * @param failure the reason why it ended early; empty if it did not
 * @param left handles that are still open after the end
 */
public record ForwardResult(
        ForwardPlan plan, List<ForwardAnswer> answers, Optional<String> failure, List<String> left) {
    public ForwardResult {
        answers = List.copyOf(answers);
        left = List.copyOf(left);
    }

    public long answered() {
        return answers.stream().filter(ForwardAnswer::passed).count();
    }

    public boolean passed() {
        return failure.isEmpty() && left.isEmpty() && answered() == plan.count();
    }
}
