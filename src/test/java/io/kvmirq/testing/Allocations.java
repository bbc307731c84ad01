/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import com.sun.management.ThreadMXBean;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;

/** Counts the bytes that work allocates. */
public final class Allocations {
    private static final int ROUNDS = 5;

    private Allocations() {}

    /**
     * The fewest bytes that this thread allocates in one of several rounds of the work: the JVM itself may allocate in
     * some round, work that allocates does so in each.
     */
    public static long leastOf(Runnable work) {
        long min = Long.MAX_VALUE;
        for (int round = 0; round < ROUNDS && min > 0; round++) {
            min = Math.min(min, of(work));
        }
        return min;
    }

    /** The bytes that this thread allocates in the work. */
    public static long of(Runnable work) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        work.run();
        return threads.getCurrentThreadAllocatedBytes() - before;
    }

    public static long directBuffers() {
        return ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
                .filter(pool -> pool.getName().equals("direct"))
                .mapToLong(BufferPoolMXBean::getCount)
                .sum();
    }
}
