/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.concurrent.CountDownLatch;

/** Latches for lambdas, which throw no checked exception. */
public final class Latches {
    private Latches() {}

    public static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
