/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Every interleaving of users and closers: released once, by nobody while in use, and refused after. */
class UseCountTest {
    /** The state of one interleaving; each interleaving is replayed from the start. */
    private static final class Run {
        private final UseCount uses = new UseCount();
        private int inside;
        private int releases;

        private void release() {
            assertThat(inside).as("uses in flight at release").isZero();
            releases++;
        }
    }

    /** One atomic step of an actor; false ends the actor. */
    private interface Step {
        boolean take(Run run);
    }

    private static final Step ENTER = run -> {
        boolean entered = run.uses.begin();
        if (entered) {
            assertThat(run.releases).as("releases before a use").isZero();
            run.inside++;
        }
        return entered;
    };
    private static final Step EXIT = run -> {
        run.inside--;
        if (run.uses.finish()) {
            run.release();
        }
        return true;
    };
    private static final Step CLOSE = run -> {
        if (run.uses.end()) {
            run.release();
        }
        return true;
    };

    private static final List<Step> USER = List.of(ENTER, EXIT, ENTER, EXIT);
    private static final List<Step> CLOSER = List.of(CLOSE, CLOSE);

    @Test
    void everyInterleavingReleasesExactlyOnce() {
        List<List<Step>> actors = List.of(USER, USER, CLOSER, CLOSER);
        int explored = explore(actors, new ArrayList<>(), new int[actors.size()]);
        // 12! / (4! 4! 2! 2!) orders of the steps
        assertThat(explored).isEqualTo(207_900);
    }

    private static int explore(List<List<Step>> actors, List<Integer> order, int[] done) {
        int explored = 0;
        for (int actor = 0; actor < actors.size(); actor++) {
            if (done[actor] < actors.get(actor).size()) {
                done[actor]++;
                order.add(actor);
                explored += explore(actors, order, done);
                order.remove(order.size() - 1);
                done[actor]--;
            }
        }
        if (explored == 0) {
            replay(actors, order);
            return 1;
        }
        return explored;
    }

    private static void replay(List<List<Step>> actors, List<Integer> order) {
        Run run = new Run();
        int[] next = new int[actors.size()];
        boolean[] ended = new boolean[actors.size()];
        for (int actor : order) {
            Step step = actors.get(actor).get(next[actor]++);
            if (!ended[actor]) {
                ended[actor] = !step.take(run);
            }
        }
        assertThat(run.releases).as("releases").isEqualTo(1);
        assertThat(run.uses.begin()).as("a use after close").isFalse();
    }
}
