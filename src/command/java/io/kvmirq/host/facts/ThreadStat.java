/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A process or thread, as {@code /proc/PID/stat} or {@code /proc/PID/task/TID/stat} shows it. Immutable.
 *
 * <p>Source: {@code do_task_stat()} in fs/proc/array.c.
 *
 * @param name its name, which it may have given itself
 * @param state such as R or S
 * @param flags {@code PF_*} of include/linux/sched.h
 * @param ticks the time that it ran in user and kernel mode, in ticks of USER_HZ
 * @param threads the number of threads of its process
 * @param began when it began, in ticks since the boot: with its number that names a thread
 * @param cpu the CPU that it is on, or was on last
 * @param guestTicks the time that it ran a guest, in ticks
 * @param priority of a thread of SCHED_FIFO or SCHED_RR, 1 to 99; 0 of others
 * @param nice of a thread of another class, -20 to 19: a higher one gets less of a CPU
 * @param policy {@code SCHED_*} of include/uapi/linux/sched.h
 */
public record ThreadStat(
        String name,
        char state,
        long flags,
        long ticks,
        long threads,
        long began,
        int cpu,
        long guestTicks,
        int priority,
        int nice,
        int policy) {
    private static final int SCHED_IDLE = 5;
    private static final long PF_EXITING = 4;
    private static final long PF_KTHREAD = 0x200000;
    private static final long PF_USER_WORKER = 0x4000;

    /** Fields are counted from the end of the name, which may contain any character. */
    private static final int STATE = 1;

    private static final int FLAGS = 7;
    private static final int USER_TIME = 12;
    private static final int KERNEL_TIME = 13;
    private static final int NICE = 17;
    private static final int THREADS = 18;
    private static final int BEGAN = 20;
    private static final int CPU = 37;
    private static final int PRIORITY = 38;
    private static final int POLICY = 39;
    private static final int GUEST = 41;
    private static final String NUMBER = "\\d{1,17}";
    private static final int RADIX = 16;

    /** Reads the text of the file. Empty if it has another form. */
    public static Optional<ThreadStat> parse(String text) {
        int end = text.lastIndexOf(')');
        int begin = text.indexOf('(') + 1;
        String[] words = text.substring(end + 1).stripTrailing().split(" ");
        if (words.length <= GUEST || begin < 1 || begin > end || words[STATE].length() != 1) {
            return Optional.empty();
        }
        boolean numbers = IntStream.of(FLAGS, USER_TIME, KERNEL_TIME, THREADS, BEGAN, GUEST)
                        .allMatch(at -> words[at].matches(NUMBER))
                && IntStream.of(CPU, PRIORITY, POLICY).allMatch(at -> words[at].matches("\\d{1,9}"))
                && words[NICE].matches("-?\\d{1,2}");
        return numbers
                ? Optional.of(new ThreadStat(
                        text.substring(begin, end),
                        words[STATE].charAt(0),
                        Long.parseLong(words[FLAGS]),
                        Long.parseLong(words[USER_TIME]) + Long.parseLong(words[KERNEL_TIME]),
                        Long.parseLong(words[THREADS]),
                        Long.parseLong(words[BEGAN]),
                        Integer.parseInt(words[CPU]),
                        Long.parseLong(words[GUEST]),
                        Integer.parseInt(words[PRIORITY]),
                        Integer.parseInt(words[NICE]),
                        Integer.parseInt(words[POLICY])))
                : Optional.empty();
    }

    /** A line of a {@code status} by its name, such as {@code State}; "" if it has none. */
    public static String line(String status, String name) {
        for (String line : status.split("\n")) {
            if (line.startsWith(name + ":")) {
                return line.substring(name.length() + 1).strip();
            }
        }
        return "";
    }

    /** Whether the effective capabilities of a {@code status} have one. Empty if they are not shown. */
    static Optional<Boolean> hasCapability(String status, int number) {
        String hex = line(status, "CapEff");
        boolean shown = !hex.isEmpty() && hex.length() <= RADIX;
        for (int i = 0; shown && i < hex.length(); i++) {
            shown = Character.digit(hex.charAt(i), RADIX) >= 0;
        }
        return shown ? Optional.of((Long.parseUnsignedLong(hex, RADIX) >>> number & 1) != 0) : Optional.empty();
    }

    public boolean isRunnable() {
        return state == 'R';
    }

    /** Whether any other thread goes first. */
    public boolean isIdleClass() {
        return policy == SCHED_IDLE;
    }

    /** Whether it is a kernel thread, which has no program. */
    public boolean isOfKernel() {
        return (flags & PF_KTHREAD) != 0;
    }

    /** Whether the kernel started it in a process, as it starts the workers of vhost since Linux 6.4. */
    public boolean isWorker() {
        return (flags & PF_USER_WORKER) != 0;
    }

    /** Whether it is in exit but has not ended, or is a zombie whose other threads have not ended. */
    public boolean isExiting() {
        return (flags & PF_EXITING) != 0 && !isOfKernel() && state != 'X' && (state != 'Z' || threads > 1);
    }
}
