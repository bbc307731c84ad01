/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.FakeTime;
import java.util.Optional;

/** The rate of a vCPU's TSC on a processor that cannot scale it; source: {@code kvm_set_tsc_khz()} in x86.c. */
final class TscRate {
    /** In kHz, as all rates here. */
    static final int OF_HOST = 2_000_000;
    /** The host's rate minus a tolerance of 250 parts per million. */
    private static final int LEAST = OF_HOST - OF_HOST / 4000;

    private static final long NANOS_OF_KHZ = 1_000_000;

    private int rate;

    TscRate(int rate) {
        this.rate = rate;
    }

    static long ofHost(FakeTime time) {
        return time.now() * (OF_HOST / NANOS_OF_KHZ);
    }

    int get() {
        return rate;
    }

    /** Sets the rate; the rule that refuses it, or empty. A refused rate is stored too. */
    Optional<Answer> set(int wanted) {
        rate = wanted == 0 ? OF_HOST : wanted;
        return Integer.compareUnsigned(rate, LEAST) < 0 ? Optional.of(SetupAnswer.TSC_SLOWER) : Optional.empty();
    }
}
