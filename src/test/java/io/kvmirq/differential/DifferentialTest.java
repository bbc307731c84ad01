/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static io.kvmirq.differential.Operation.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.RealKvm;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A slice of the search; {@code make differential} runs more. */
@RealKvm
class DifferentialTest {
    /** How many seeds; the default takes some seconds. */
    private static final long SEEDS = Long.getLong("kvmirq.differential.seeds", 400);

    /** With fewer, chance would decide which outcomes are rare. */
    private static final long ENOUGH = 2000;

    @Test
    void fakeAnswersAsTheRealKernelDoesAndNoOutcomeIsRare() {
        try (Differential differential = Differential.ofThisMachine()) {
            List<String> found = Search.run(differential, 0, SEEDS);
            System.out.println(differential.coverage());
            assertThat(found).as("differences").isEmpty();
            if (SEEDS >= ENOUGH) {
                assertThat(differential.coverage().rare())
                        .as("what comes less than once in a hundred times")
                        .isEmpty();
            }
        }
    }

    /** What the search found is pasted as calls of this. */
    private static void agree(Call... calls) {
        try (Differential differential = Differential.ofThisMachine()) {
            assertThat(differential.run(List.of(calls))).isEmpty();
        }
    }

    /** Signals are settled by barriers, and stale numbers stay stale. */
    @Test
    void closedEventfdIsDetachedOnBoth() {
        agree(
                call(OPEN, 1000, 0),
                call(CREATE_VM, 1001, 1000, 0),
                call(CREATE_IRQCHIP, 1001),
                call(EVENTFD, 1002, 0, 0),
                call(EVENTFD, 1003, 0, 0),
                call(IRQFD, 1001, 1002, 5, 2, 1003),
                call(WRITE, 1002, 1, 8),
                call(IRQFD, 1001, 1002, 5, 1, 0),
                call(CLOSE, 1002),
                call(CLOSE, 1002),
                call(GET_IRQCHIP, 1001, 2));
    }
}
