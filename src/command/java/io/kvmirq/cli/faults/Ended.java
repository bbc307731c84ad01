/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import java.util.List;
import java.util.Map;

/**
 * How a program ended: an exit code or a signal, {@code late} at the time limit; the counts of each rule, and the first
 * lines of its stderr, where read.
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
     * The calls of a rule: all, the failed ones, those after the first failure of any rule, and its place in the order
     * of first calls; 0 if none came.
     */
    record Count(long seen, long used, long after, long first) {}

    /** The exit code as a shell reports it: 128 + the number of a signal. */
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
