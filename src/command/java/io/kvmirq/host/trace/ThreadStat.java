/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.util.Optional;

/**
 * A thread, as {@code /proc/PID/task/TID/stat} shows it. Immutable.
 *
 * <p>Source: {@code do_task_stat()} in fs/proc/array.c.
 *
 * @param state such as R or S
 * @param began when it began, in ticks since the boot: with its number that names a thread
 * @param cpu the CPU that it is on, or was on last
 * @param guestTicks the time that it ran a guest, in ticks
 */
public record ThreadStat(char state, long began, int cpu, long guestTicks) {
    /** Counted from the end of the name, which may hold anything. */
    private static final int STATE = 1;

    private static final int BEGAN = 20;
    private static final int CPU = 37;
    private static final int GUEST = 41;
    private static final String NUMBER = "\\d{1,18}";

    /** Reads the text of the file. Empty if it has another form. */
    public static Optional<ThreadStat> parse(String text) {
        String[] words = text.substring(text.lastIndexOf(')') + 1).split(" ");
        if (words.length <= GUEST
                || words[STATE].length() != 1
                || !words[BEGAN].matches(NUMBER)
                || !words[CPU].matches("\\d{1,9}")
                || !words[GUEST].matches(NUMBER)) {
            return Optional.empty();
        }
        return Optional.of(new ThreadStat(
                words[STATE].charAt(0),
                Long.parseLong(words[BEGAN]),
                Integer.parseInt(words[CPU]),
                Long.parseLong(words[GUEST])));
    }

    boolean isRunnable() {
        return state == 'R';
    }
}
