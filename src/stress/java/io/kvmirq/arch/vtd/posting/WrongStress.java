/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.openjdk.jcstress.annotations.Expect.ACCEPTABLE;
import static org.openjdk.jcstress.annotations.Expect.ACCEPTABLE_INTERESTING;

import io.kvmirq.arch.SharedWords;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.II_Result;

/** Deliberately wrong: what the tests forbid is to be seen here, or they prove nothing on this machine. */
public class WrongStress {
    private WrongStress() {}

    /** A sender that looks whether the PIR bit is set, and then leaves it at that. */
    @JCStressTest
    @Outcome(id = "0, 0", expect = ACCEPTABLE_INTERESTING, desc = "the old data and nothing left to take")
    @Outcome(expect = ACCEPTABLE, desc = "as it should be")
    @State
    public static class TestFirst extends Place {
        private int data;

        public TestFirst() {
            pid.deliver(VECTOR);
        }

        @Override
        PiDescriptor descriptor(SharedWords words, int base) {
            return new PiDescriptor(words, base) {
                @Override
                public boolean deliver(int vector) {
                    return (words.get(pir(vector)) & bit(vector)) == 0 && super.deliver(vector);
                }
            };
        }

        @Actor
        public void sender() {
            data = 1;
            pid.deliver(VECTOR);
        }

        @Actor
        public void receiver(II_Result result) {
            sync();
            result.r1 = data;
        }

        @Arbiter
        public void end(II_Result result) {
            result.r2 = number(isPending());
        }
    }

    /** A vCPU that enters without the barrier between its mode and its last look. */
    @JCStressTest
    @Outcome(id = "0, 0", expect = ACCEPTABLE_INTERESTING, desc = "the guest runs and nobody tells it")
    @Outcome(expect = ACCEPTABLE, desc = "as it should be")
    @State
    public static class NoModeBarrier extends Place {
        @Actor
        public void sender(II_Result result) {
            result.r1 = number(pid.deliver(VECTOR) && mode());
        }

        @Actor
        public void vcpu(II_Result result) {
            setMode();
            result.r2 = number(sync());
        }
    }
}
