/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.Kernels;
import java.lang.invoke.VarHandle;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Two threads write, pass the fence and read: the litmus test of the store buffer. */
class RemoteFenceTest {
    /** Without a fence nearly all are blind, while both threads have a processor. */
    private static final int ROUNDS = 2_000;

    private static final int REFUSED = 500;

    /** Longer than a pass: the other thread does not run. */
    private static final int SPINS = 10_000;

    /** So often a round waits for the other thread to run. */
    private static final int YIELDS = 1_000;

    /** Passes until their code is compiled: interpreted code has fences of its own. */
    private static final int COMPILED = 300_000;

    /** Writes that fill the store buffer, each to a page of its own: the next one is seen late. */
    private static final int FULL = 16;

    private static final int PAGE = 1024 + 16;

    @BeforeAll
    static void compile() {
        new Litmus(new RemoteFence(Kernels.FAKE.backend().libc()), ROUNDS).warm();
    }

    @Test
    void oneOfBothSeesTheOtherByMembarrier() throws Exception {
        RemoteFence fence = new RemoteFence(Kernels.REAL.backend().libc());
        assertThat(fence.isRemote()).isTrue();
        assertThat(bothBlind(fence, ROUNDS)).isZero();
    }

    /** The fake kernel is built without membarrier. */
    @Test
    void oneOfBothSeesTheOtherByTheirOwnFences() throws Exception {
        RemoteFence fence = new RemoteFence(Kernels.FAKE.backend().libc());
        assertThat(fence.isRemote()).isFalse();
        assertThat(bothBlind(fence, ROUNDS)).isZero();
    }

    /** A filter of system calls may begin at any time. */
    @Test
    void membarrierThatIsRefusedLaterIsReplaced() throws Exception {
        AtomicInteger calls = new AtomicInteger();
        Libc libc =
                libc((proxy, method, arguments) -> calls.getAndIncrement() == 0 ? 0L : (long) -Errno.EPERM.number());
        RemoteFence fence = new RemoteFence(libc);
        assertThat(fence.isRemote()).isTrue();
        for (int call = 0; call < ROUNDS; call++) {
            fence.make(Thread.currentThread());
        }
        assertThat(bothBlind(fence, REFUSED)).isZero();
        assertThat(calls).hasValue(1 + ROUNDS + REFUSED);
    }

    private static Libc libc(InvocationHandler handler) {
        return (Libc) Proxy.newProxyInstance(Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, handler);
    }

    /** In how many rounds neither saw the other. */
    private static int bothBlind(RemoteFence fence, int rounds) throws Exception {
        Litmus litmus = new Litmus(fence, rounds);
        CompletableFuture<Thread> frequent = new CompletableFuture<>();
        ExecutorService threads = Executors.newFixedThreadPool(2);
        try {
            Future<?> passing = threads.submit(() -> {
                frequent.complete(Thread.currentThread());
                litmus.pass();
            });
            Future<?> making = threads.submit(() -> litmus.make(frequent.join()));
            making.get();
            passing.get();
        } finally {
            threads.shutdownNow();
        }
        return litmus.blind();
    }

    /**
     * The frequent side writes the number of its pass and reads the round; the other side writes the number of the
     * round, and reads the pass. A round is blind if a pass later than the one that it read did not read it. All accesses
     * are plain: the JVM's first compiler makes a full fence behind a release store.
     */
    private static final class Litmus {
        /** The line of cache in the middle. */
        private static final int AT = 32;

        private final RemoteFence fence;
        private final int rounds;
        private final int[] pass = new int[2 * AT];
        private final int[] round = new int[2 * AT];
        private int yields;
        private final int[] far = new int[1 << 22];
        /** For each round the pass that it read. */
        private final int[] read;
        /** For each round the first pass that read it or a later one. */
        private final int[] readBy;

        Litmus(RemoteFence fence, int rounds) {
            this.fence = fence;
            this.rounds = rounds;
            this.read = new int[rounds + 1];
            this.readBy = new int[rounds + 1];
        }

        void pass() {
            int seen = 0;
            for (int number = 1; seen < rounds; number++) {
                int latest = pass(number);
                while (seen < latest) {
                    readBy[++seen] = number;
                }
            }
        }

        private int pass(int number) {
            for (int line = 0; line < FULL; line++) {
                far[(number * FULL + line) * PAGE & far.length - 1] = number;
            }
            pass[AT] = number;
            fence.pass();
            return round[AT];
        }

        void warm() {
            for (int number = 1; number <= COMPILED; number++) {
                pass(number);
            }
        }

        void make(Thread frequent) {
            for (int number = 1; number <= rounds; number++) {
                awaitPass();
                round[AT] = number;
                fence.make(frequent);
                read[number] = pass[AT];
            }
        }

        /** Returns while the other thread runs. Not on a machine with one processor, and late where others use it. */
        private void awaitPass() {
            int before = pass[AT];
            for (int spin = 1; pass[AT] == before && yields < YIELDS; spin++) {
                if (spin % SPINS == 0) {
                    Thread.yield();
                    yields++;
                    before = pass[AT];
                }
                VarHandle.acquireFence();
            }
        }

        int blind() {
            return (int) IntStream.rangeClosed(1, rounds)
                    .filter(number -> readBy[number] > read[number] + 1)
                    .count();
        }
    }
}
