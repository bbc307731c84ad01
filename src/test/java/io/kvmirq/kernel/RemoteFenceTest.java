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
    /** Mostly of compiled code, where a missing fence shows. */
    private static final int ROUNDS = 20_000;

    private static final int REFUSED = 2_000;
    private static final int LATEST = 64;
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
            assertThat(bothBlind(fence, ROUNDS)).isZero();
            faults.failEvery("membarrier", Errno.EPERM);
            assertThat(bothBlind(fence, REFUSED)).isZero();
            assertThat(faults.unused()).isEmpty();
        }
    }

    private Kernel open(Kernels kernel) {
        return Kernel.over(faults.over(kernel.backend()), Kernel.DEVICE);
    }

    /** In how many rounds neither saw the other. */
    private static int bothBlind(RemoteFence fence, int rounds) throws Exception {
        Litmus litmus = new Litmus(fence, rounds);
        CompletableFuture<Thread> frequent = new CompletableFuture<>();
        ExecutorService threads = Executors.newFixedThreadPool(2);
        try {
            Future<?> passing = threads.submit(() -> {
                frequent.complete(Thread.currentThread());
                for (int i = 0; i < rounds; i++) {
                    litmus.pass(i);
                }
            });
            Future<?> making = threads.submit(() -> {
                for (int i = 0; i < rounds; i++) {
                    litmus.make(i, frequent.join());
                }
            });
            passing.get(60, TimeUnit.SECONDS);
            making.get(60, TimeUnit.SECONDS);
        } finally {
            threads.shutdownNow();
        }
        return litmus.blind();
    }

    /** Rounds of both sides: methods of their own, which the JVM compiles in the first rounds. */
    private static final class Litmus {
        private final RemoteFence fence;
        private final AtomicIntegerArray first;
        private final AtomicIntegerArray second;
        private final int[] firstSaw;
        private final int[] secondSaw;
        private final int[] far = new int[1 << 22];
        private final AtomicInteger arrived = new AtomicInteger();

        Litmus(RemoteFence fence, int rounds) {
            this.fence = fence;
            this.first = new AtomicIntegerArray(rounds);
            this.second = new AtomicIntegerArray(rounds);
            this.firstSaw = new int[rounds];
            this.secondSaw = new int[rounds];
        }

        void pass(int round) {
            meet(round);
            for (int line = 0; line < FULL; line++) {
                far[(round * FULL + line) * PAGE & far.length - 1] = round;
            }
            first.setRelease(round, 1);
            fence.pass();
            firstSaw[round] = second.getAcquire(round);
        }

        /** The other side's write is on its way for some hundred nanoseconds, about as long as a system call. */
        void make(int round, Thread frequent) {
            meet(round);
            for (int spin = fence.isRemote() ? 0 : round % LATEST; spin > 0; spin--) {
                Thread.onSpinWait();
            }
            second.setRelease(round, 1);
            fence.make(frequent);
            secondSaw[round] = first.getAcquire(round);
        }

        private void meet(int round) {
            arrived.incrementAndGet();
            while (arrived.get() < 2 * (round + 1)) {
                Thread.onSpinWait();
            }
        }

        int blind() {
            int blind = 0;
            for (int i = 0; i < firstSaw.length; i++) {
                blind += firstSaw[i] + secondSaw[i] == 0 ? 1 : 0;
            }
            return blind;
        }
    }
}
