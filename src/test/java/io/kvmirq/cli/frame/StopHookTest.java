/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.JavaProcess;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

class StopHookTest {
    /** Work that needs a while to print what it has after it was told to end. */
    static final class Slow {
        private Slow() {}

        public static void main(String[] arguments) {
            CountDownLatch stop = new CountDownLatch(1);
            StopHook.during(
                    () -> {
                        System.out.println("runs");
                        try {
                            stop.await();
                        } catch (InterruptedException e) {
                            throw new IllegalStateException("nobody interrupts it", e);
                        }
                        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(300));
                        System.out.println("has ended");
                        return 0;
                    },
                    stop::countDown);
        }
    }

    @Test
    void workPrintsWhatItHasBeforeTheProcessEnds() throws Exception {
        Process process = JavaProcess.start(List.of(), Slow.class);
        assertThat(process.getInputStream().readNBytes("runs\n".length())).isEqualTo("runs\n".getBytes(UTF_8));

        process.toHandle().destroy(); // unlike destroy() of the Process, it leaves the streams open

        assertThat(new String(process.getInputStream().readAllBytes(), UTF_8)).isEqualTo("has ended\n");
    }
}
