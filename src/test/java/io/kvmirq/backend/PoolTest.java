/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class PoolTest {
    private final AtomicInteger made = new AtomicInteger();

    @Test
    void theOneReturnedLastIsTakenFirst() {
        Pool<Integer> pool = new Pool<>(made::incrementAndGet);
        pool.giveBack(10);
        pool.giveBack(20);
        assertThat(pool.take()).isEqualTo(20);
        assertThat(pool.take()).isEqualTo(10);
        assertThat(pool.take()).isEqualTo(1);
    }

    @Test
    void noMoreAreKeptThanAskedFor() {
        Pool<Integer> pool = new Pool<>(made::incrementAndGet, 1);
        pool.giveBack(10);
        pool.giveBack(20);
        assertThat(pool.take()).isEqualTo(10);
        assertThat(pool.take()).isEqualTo(1);
    }
}
