/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Steps of which some fail. */
class StepRunnerTest {
    private final List<String> taken = new ArrayList<>();

    private Runnable step(RuntimeException failure) {
        return () -> {
            taken.add(String.valueOf(failure.getMessage()));
            throw failure;
        };
    }

    @Test
    void errorOfOneStepKeepsNoOtherFromBeingTakenAndIsThrown() {
        Error error = new OutOfMemoryError("planted");
        RuntimeException later = new IllegalStateException("later");
        Runnable fails = () -> {
            throw error;
        };
        Throwable thrown =
                catchThrowable(() -> StepRunner.runAll(List.of(fails, step(later), () -> taken.add("last"))));
        assertThat(taken).containsExactly("later", "last");
        assertThat(thrown).isSameAs(error);
    }

    @Test
    void eachStepIsTakenAndNoFailureIsLost() {
        RuntimeException first = new IllegalStateException("first");
        RuntimeException second = new IllegalStateException("second");
        Throwable thrown =
                catchThrowable(() -> StepRunner.runAll(List.of(step(first), step(second), () -> taken.add("third"))));
        assertThat(taken).containsExactly("first", "second", "third");
        assertThat(thrown).isSameAs(second).hasSuppressedException(first);
    }

    @Test
    void oneFailureOfTwoStepsIsThrown() {
        RuntimeException same = new IllegalStateException("same");
        assertThat(catchThrowable(() -> StepRunner.runAll(List.of(step(same), step(same)))))
                .isSameAs(same);
        StepRunner.runAll(List.of());
    }
}
