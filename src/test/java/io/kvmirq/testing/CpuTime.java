/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.time.Duration;

/** Limits of the time that the thread of a test uses a CPU, whatever else the machine does. */
public final class CpuTime {
    /** Far above what a parser needs for an input of a fuzzer, and far below what a quadratic one takes. */
    public static final Duration OF_AN_INPUT = Duration.ofSeconds(2);

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    private CpuTime() {}

    /** What a test does. */
    @FunctionalInterface
    public interface Body<E extends Exception> {
        void run() throws E;
    }

    /** Asserts that {@code body} uses no more than {@code limit}. */
    public static <E extends Exception> void within(Duration limit, Body<E> body) throws E {
        Duration before = ofThread();
        body.run();
        assertThat(ofThread().minus(before)).as("time on a CPU").isLessThan(limit);
    }

    /** The time that this thread has used a CPU. */
    public static Duration ofThread() {
        return Duration.ofNanos(THREADS.getCurrentThreadCpuTime());
    }
}
