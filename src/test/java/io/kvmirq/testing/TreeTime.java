/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * The processor time of a process, of all its descendants, and of those that their parents have waited for. A
 * descendant whose parent ends before it is no longer one, so the time can shrink.
 *
 * <p>Source: proc(5), {@code /proc/PID/stat}. Guests count for the threads that run them.
 */
final class TreeTime {
    /** A unit of {@code /proc/PID/stat}: USER_HZ is 100 on x86-64 and arm64. */
    private static final long TICK_NANOS = TimeUnit.MILLISECONDS.toNanos(10);

    /** The index of utime after the name; stime, cutime and cstime follow it. */
    private static final int UTIME = 11;

    private TreeTime() {}

    static long nanos(ProcessHandle root) {
        return Stream.concat(Stream.of(root), root.descendants())
                .mapToLong(TreeTime::own)
                .sum();
    }

    private static long own(ProcessHandle process) {
        // It may have ended since it was listed.
        Optional<String[]> stat = Program.stat(process.pid());
        if (stat.isEmpty()) {
            return 0;
        }
        long ticks = 0;
        for (int i = UTIME; i < UTIME + 4; i++) {
            ticks += Long.parseLong(stat.get()[i]);
        }
        return ticks * TICK_NANOS;
    }
}
