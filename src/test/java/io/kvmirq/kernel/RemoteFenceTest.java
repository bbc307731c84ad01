/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.recording.Faults;
import io.kvmirq.testing.Kernels;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;

/** Two threads write, pass the fence and read: the litmus test of the store buffer. */
class RemoteFenceTest {
    private static final int ROUNDS = 2_000;
    /** Writes that fill the store buffer, each to a page of its own: the next one is seen late. */
    private static final int FULL = 16;

    private static final int PAGE = 1024 + 16;

    private final Faults faults = new Faults();

    @Test
    void oneOfBothSeesTheOtherByMembarrier() throws Exception {
        try (Kernel kernel = open(Kernels.REAL)) {
            RemoteFence fence = new RemoteFence(kernel);
            assertThat(fence.isRemote()).isTrue();
            assertThat(bothBlind(fence, ROUNDS)).isZero();
        }
    }

    /** The fake kernel is built without membarrier. */
    @Test
    void oneOfBothSeesTheOtherByTheirOwnFences() throws Exception {
        try (Kernel kernel = open(Kernels.FAKE)) {
            RemoteFence fence = new RemoteFence(kernel);
            assertThat(fence.isRemote()).isFalse();
            assertThat(bothBlind(fence, ROUNDS)).isZero();
        }
    }

    /** A filter of system calls may begin at any time. */
    @Test
    void membarrierThatIsRefusedLaterIsReplaced() throws Exception {
        try (Kernel kernel = open(Kernels.REAL)) {
            RemoteFence fence = new RemoteFence(kernel);
            faults.failEvery("membarrier", Errno.EPERM);
            assertThat(bothBlind(fence, ROUNDS)).isZero();
            assertThat(faults.unused()).isEmpty();
        }
    }

    private Kernel open(Kernels kernel) {
        return Kernel.over(faults.over(kernel.backend()), Kernel.DEVICE);
    }

    /** In how many rounds neither saw the other. */
    private static int bothBlind(RemoteFence fence, int rounds) throws Exception {
        AtomicIntegerArray first = new AtomicIntegerArray(rounds);
        AtomicIntegerArray second = new AtomicIntegerArray(rounds);
        int[] firstSaw = new int[rounds];
        int[] secondSaw = new int[rounds];
        int[] far = new int[1 << 24];
        AtomicInteger arrived = new AtomicInteger();
        CompletableFuture<Thread> frequent = new CompletableFuture<>();
        ExecutorService threads = Executors.newFixedThreadPool(2);
        try {
            Future<?> passing = threads.submit(() -> {
                frequent.complete(Thread.currentThread());
                for (int i = 0; i < rounds; i++) {
                    meet(arrived, i);
                    for (int line = 0; line < FULL; line++) {
                        far[(i * FULL + line) * PAGE & far.length - 1] = i;
                    }
                    first.setRelease(i, 1);
                    fence.pass();
                    firstSaw[i] = second.getAcquire(i);
                }
            });
            Future<?> making = threads.submit(() -> {
                for (int i = 0; i < rounds; i++) {
                    meet(arrived, i);
                    second.setRelease(i, 1);
                    fence.make(frequent.join());
                    secondSaw[i] = first.getAcquire(i);
                }
            });
            passing.get(60, TimeUnit.SECONDS);
            making.get(60, TimeUnit.SECONDS);
        } finally {
            threads.shutdownNow();
        }
        int blind = 0;
        for (int i = 0; i < rounds; i++) {
            blind += firstSaw[i] + secondSaw[i] == 0 ? 1 : 0;
        }
        return blind;
    }

    private static void meet(AtomicInteger arrived, int round) {
        arrived.incrementAndGet();
        while (arrived.get() < 2 * (round + 1)) {
            Thread.onSpinWait();
        }
    }
}
