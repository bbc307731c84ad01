/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class FakeTimeTest {
    private int runs;

    @Test
    void timerOfVirtualTimeRunsOnceWhenItsTimePasses() {
        FakeTime time = new FakeTime(true);
        time.enter();
        try (time) {
            time.after(Duration.ofMillis(2), () -> runs++);
            time.after(Duration.ofMillis(1), () -> runs += 10);
            time.pass(Duration.ofMillis(1));
            assertThat(runs).isEqualTo(10);
            time.pass(Duration.ofMillis(1));
            assertThat(runs).isEqualTo(11);
            time.pass(Duration.ofMillis(5));
            assertThat(runs).isEqualTo(11);
        }
    }

    @Test
    void nextCallRunsATimerThatIsDue() {
        FakeTime time = new FakeTime(false);
        time.locked(() -> {
            time.after(Duration.ZERO, () -> runs++);
            return true;
        });
        assertThat(time.locked(() -> runs)).isEqualTo(1);
    }

    @Test
    void callThatWaitsRunsATimer() {
        FakeTime time = new FakeTime(false);
        time.enter();
        try (time) {
            time.after(Duration.ofMillis(1), () -> runs++);
            assertThat(time.await(Long.MAX_VALUE, () -> runs)).isEqualTo(1);
        }
    }

    @Test
    void timerThatTakesTheLockRunsNoOther() {
        FakeTime time = new FakeTime(true);
        time.enter();
        try (time) {
            time.after(Duration.ofMillis(1), () -> {
                time.locked(() -> runs);
                assertThat(runs).isZero();
            });
            time.after(Duration.ofMillis(2), () -> runs++);
            time.pass(Duration.ofMillis(2));
            assertThat(runs).isEqualTo(1);
        }
    }
}
