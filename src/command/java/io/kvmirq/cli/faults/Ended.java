/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import java.util.List;
import java.util.Map;

/**
 * How a program ended, and what became of each rule.
 *
 * @param code its exit code, or the number of the signal that ended it
 * @param late whether it was killed at the time limit
 * @param counts in the order of the rules
 * @param said the first lines of its stderr, where that was read
 */
record Ended(boolean bySignal, int code, boolean late, List<Count> counts, List<String> said) {
    private static final int SIGNALLED = 128;

    private static final Map<Integer, String> SIGNALS = Map.ofEntries(
            Map.entry(1, "SIGHUP"),
            Map.entry(2, "SIGINT"),
            Map.entry(3, "SIGQUIT"),
            Map.entry(4, "SIGILL"),
            Map.entry(5, "SIGTRAP"),
            Map.entry(6, "SIGABRT"),
            Map.entry(7, "SIGBUS"),
            Map.entry(8, "SIGFPE"),
            Map.entry(9, "SIGKILL"),
            Map.entry(11, "SIGSEGV"),
            Map.entry(13, "SIGPIPE"),
            Map.entry(14, "SIGALRM"),
            Map.entry(15, "SIGTERM"),
            Map.entry(31, "SIGSYS"));

    /**
     * The calls that a rule is about.
     *
     * @param seen all of them
     * @param used those that it answered
     * @param after those after the first answer of any rule
     * @param first when the first came, before others with a greater number; 0 if none came
     */
    record Count(long seen, long used, long after, long first) {}

    /** As a shell reports it. */
    int exitCode() {
        return bySignal ? SIGNALLED + code : code;
    }

    String signal() {
        return SIGNALS.getOrDefault(code, "signal " + code);
    }

    Ended saying(List<String> lines) {
        return new Ended(bySignal, code, late, counts, lines);
    }
}
