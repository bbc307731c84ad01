/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.OutputStream;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class StallTest {
    private static final Duration LIMIT = Duration.ofSeconds(3);
    private static final String IDLE =
            "neither started nor ended a test, and used less than 1 % of a processor, for 3 s";

    private static final long SECOND = 1_000_000_000;

    private final Stall stall = new Stall(LIMIT);

    @Test
    void blockedTestIsStalled() {
        assertThat(stall.look(0, 5 * SECOND, 1)).isEmpty();
        assertThat(stall.look(2 * SECOND, 5 * SECOND, 1)).isEmpty();
        assertThat(stall.look(3 * SECOND, 5 * SECOND, 1)).contains(IDLE);
    }

    @Test
    void noiseIsNoProgress() {
        assertThat(stall.look(0, 0, 1)).isEmpty();
        assertThat(stall.look(SECOND, SECOND / 101, 1)).isEmpty();
        assertThat(stall.look(3 * SECOND, 3 * SECOND / 101, 1)).contains(IDLE);
    }

    @Test
    void processorTimeIsProgress() {
        for (int second = 0; second < 1000; second++) {
            assertThat(stall.look(second * SECOND, second * SECOND / 99, 1)).isEmpty();
        }
        assertThat(stall.look(1002 * SECOND, 1000 * SECOND / 99, 1)).contains(IDLE);
    }

    @Test
    void nextTestIsProgress() {
        for (int second = 0; second < 1000; second++) {
            assertThat(stall.look(second * SECOND, 0, second)).isEmpty();
        }
    }

    /** A process with much time leaves the tree, and others go on. */
    @Test
    void lostTimeHidesNoLaterProgress() {
        assertThat(stall.look(0, 900 * SECOND, 1)).isEmpty();
        assertThat(stall.look(2 * SECOND, 0, 1)).isEmpty();
        assertThat(stall.look(3 * SECOND, SECOND, 1)).isEmpty();
    }

    @Test
    void spinningTestIsStalledByItsOwnProcessorTime() {
        long budget = Stall.BUDGET.toNanos();
        assertThat(stall.look(0, 0, 1)).isEmpty();
        assertThat(stall.look(SECOND, budget, 2)).isEmpty();
        assertThat(stall.look(2 * SECOND, 2 * budget - 1, 2)).isEmpty();
        assertThat(stall.look(3 * SECOND, 2 * budget, 2)).contains("used 30 min of processor time");
    }

    /** Long searches raise the limit. */
    @Test
    void longLimitRaisesTheBudget() {
        Stall patient = new Stall(Duration.ofHours(1));
        assertThat(patient.look(0, 0, 1)).isEmpty();
        assertThat(patient.look(SECOND, Stall.BUDGET.toNanos(), 1)).isEmpty();
        assertThat(patient.look(2 * SECOND, Duration.ofHours(10).toNanos(), 1))
                .contains("used 600 min of processor time");
    }

    /** A shell whose child burns processor time, blocks, and ends. */
    @Test
    void childThatWorksIsProgressAndChildThatBlocksIsNot() throws Exception {
        String burn = "for ((i = 0; i < 100000; i++)); do :; done; echo burnt; read -r";
        Process shell = new ProcessBuilder("bash", "-c", "bash -c '" + burn + "'; echo reaped; read -r").start();
        try (BufferedReader out = shell.inputReader();
                OutputStream in = shell.getOutputStream()) {
            assertThat(stall.look(0, 0, 1)).isEmpty();
            assertThat(out.readLine()).isEqualTo("burnt");
            long burnt = TreeTime.nanos(shell.toHandle());
            assertThat(stall.look(3 * SECOND, burnt, 1)).as("%d ns used", burnt).isEmpty();
            in.write('\n');
            in.flush();
            assertThat(out.readLine()).isEqualTo("reaped");
            long reaped = TreeTime.nanos(shell.toHandle());
            assertThat(reaped).as("the child has ended").isGreaterThanOrEqualTo(burnt);
            assertThat(stall.look(6 * SECOND, TreeTime.nanos(shell.toHandle()), 1))
                    .contains(IDLE);
        } finally {
            shell.destroy();
        }
    }
}
