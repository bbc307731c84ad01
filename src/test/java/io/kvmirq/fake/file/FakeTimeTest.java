/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class FakeTimeTest {
    private int runs;

    @Test
    void timerOfVirtualTimeRunsOnceWhenItsTimePasses() {
        FakeTime time = new FakeTime(true, new Ledger());
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
        FakeTime time = new FakeTime(false, new Ledger());
        time.locked(() -> {
            time.after(Duration.ZERO, () -> runs++);
            return true;
        });
        assertThat(time.locked(() -> runs)).isEqualTo(1);
    }

    @Test
    void callThatWaitsRunsATimer() {
        FakeTime time = new FakeTime(false, new Ledger());
        time.enter();
        try (time) {
            time.after(Duration.ofMillis(1), () -> runs++);
            assertThat(time.await(Long.MAX_VALUE, () -> runs)).isEqualTo(1);
        }
    }

    @Test
    void timerThatTakesTheLockRunsNoOther() {
        FakeTime time = new FakeTime(true, new Ledger());
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

    @Test
    void timerThatSetsItselfRunsAtEachOfItsTimes() {
        FakeTime time = new FakeTime(true, new Ledger());
        time.enter();
        try (time) {
            again(time);
            time.pass(Duration.ofSeconds(1));
            assertThat(runs).isEqualTo(10);
        }
    }

    private void again(FakeTime time) {
        time.after(Duration.ofMillis(100), () -> {
            runs++;
            again(time);
        });
    }

    @Test
    void changeThatFailsEndsLikeOthers() {
        Ledger ledger = new Ledger();
        FakeTime time = new FakeTime(true, ledger);
        assertThatIllegalStateException()
                .isThrownBy(() -> time.changing((Runnable) () -> {
                    ledger.sendByProgram();
                    throw new IllegalStateException("of the change");
                }))
                .withMessage("of the change");
        assertThat(ledger.counts().sent()).isZero();
    }

    @Test
    void timerThatFailsLeavesTheLockFree() throws InterruptedException {
        FakeTime time = new FakeTime(false, new Ledger());
        time.locked(() -> {
            time.after(Duration.ZERO, () -> {
                throw new IllegalStateException("of the timer");
            });
            return true;
        });
        assertThatIllegalStateException().isThrownBy(time::enter).withMessage("of the timer");
        Thread other = new Thread(() -> time.locked(() -> runs++));
        other.setDaemon(true);
        other.start();
        other.join();
        assertThat(runs).isEqualTo(1);
    }
}
