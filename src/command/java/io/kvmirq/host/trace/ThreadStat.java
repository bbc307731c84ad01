/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.util.Optional;

/**
 * A thread, as {@code /proc/PID/task/TID/stat} shows it. Immutable.
 *
 * <p>Source: {@code do_task_stat()} in fs/proc/array.c.
 *
 * @param name its name, which it may have given itself
 * @param state such as R or S
 * @param flags {@code PF_*} of include/linux/sched.h
 * @param began when it began, in ticks since the boot: with its number that names a thread
 * @param cpu the CPU that it is on, or was on last
 * @param guestTicks the time that it ran a guest, in ticks
 */
public record ThreadStat(String name, char state, long flags, long began, int cpu, long guestTicks) {
    private static final long PF_KTHREAD = 0x200000;
    private static final long PF_USER_WORKER = 0x4000;

    /** Counted from the end of the name, which may hold anything. */
    private static final int STATE = 1;

    private static final int FLAGS = 7;
    private static final int BEGAN = 20;
    private static final int CPU = 37;
    private static final int GUEST = 41;
    private static final String NUMBER = "\\d{1,18}";

    /** Reads the text of the file. Empty if it has another form. */
    public static Optional<ThreadStat> parse(String text) {
        int end = text.lastIndexOf(')');
        int begin = text.indexOf('(') + 1;
        String[] words = text.substring(end + 1).split(" ");
        if (words.length <= GUEST
                || begin < 1
                || begin > end
                || words[STATE].length() != 1
                || !words[FLAGS].matches(NUMBER)
                || !words[BEGAN].matches(NUMBER)
                || !words[CPU].matches("\\d{1,9}")
                || !words[GUEST].matches(NUMBER)) {
            return Optional.empty();
        }
        return Optional.of(new ThreadStat(
                text.substring(begin, end),
                words[STATE].charAt(0),
                Long.parseLong(words[FLAGS]),
                Long.parseLong(words[BEGAN]),
                Integer.parseInt(words[CPU]),
                Long.parseLong(words[GUEST])));
    }

    public boolean isRunnable() {
        return state == 'R';
    }

    /** Whether it is a thread of the kernel, which has no program. */
    public boolean isOfKernel() {
        return (flags & PF_KTHREAD) != 0;
    }

    /** Whether the kernel started it in a process, as it starts the workers of vhost since Linux 6.4. */
    public boolean isWorker() {
        return (flags & PF_USER_WORKER) != 0;
    }
}
