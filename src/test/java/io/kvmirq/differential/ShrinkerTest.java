/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.differential.Differential.Divergence;
import io.kvmirq.differential.Draft.Step;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class ShrinkerTest {
    private static final Call OPEN = call(Operation.OPEN, 1000, 0);
    private static final Call FIRST = call(Operation.CREATE_VM, 1001, 1000, 0);
    private static final Call SECOND = call(Operation.CREATE_IRQCHIP, 1001);
    private static final Call OTHER = call(Operation.EVENTFD, 1002, 0, 0);
    private static final Call LAST = call(Operation.IRQ_LINE, 1001, 5, 1);
    private static final Answer OK = Answer.of(0);
    private static final Answer REFUSED = Answer.of(-Errno.EINVAL.number());

    /** After the first step, which makes what waits for workers. */
    private static List<Step> steps(Call... calls) {
        Step first =
                new Step(List.of(OPEN, call(Operation.CREATE_VM, 990, 1000, 0), call(Operation.EVENTFD, 991, 0, 0)));
        return Stream.concat(Stream.of(first), Stream.of(calls).map(call -> new Step(List.of(call))))
                .toList();
    }

    /** Differs at the last call after both others; at the second one without the first; elsewise with the second alone. */
    private static Optional<Divergence> run(List<Call> calls) {
        List<Call> made = new ArrayList<>();
        for (Call call : calls) {
            if (call.equals(SECOND) && !made.contains(FIRST)) {
                return Optional.of(new Divergence(call, OK, REFUSED));
            }
            if (call.equals(LAST) && made.contains(SECOND)) {
                return Optional.of(new Divergence(call, made.contains(FIRST) ? OK : REFUSED, Answer.of(1)));
            }
            if (call.equals(LAST)) {
                return Optional.of(new Divergence(call, REFUSED, OK));
            }
            made.add(call);
        }
        return Optional.empty();
    }

    @Test
    void differenceStaysTheOneThatWasFound() {
        List<Call> small = new Shrinker(ShrinkerTest::run).shrink(steps(OTHER, FIRST, OTHER, SECOND, OTHER, LAST));
        assertThat(small).containsExactly(OPEN, FIRST, SECOND, LAST);
    }
}
