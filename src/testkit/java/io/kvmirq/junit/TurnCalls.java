/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * The calls of a run whose calls fail in turn, counted by thread and name, because threads run in any order. The
 * predicate accepts the call that fails in this run, once. Thread-safe.
 */
final class TurnCalls implements Predicate<String> {
    private static final String NAMED_BY_JAVA = "Thread-\\d+|pool-\\d+-thread-\\d+|ForkJoinPool.*|junit-timeout.*";

    /**
     * A call of a run.
     *
     * @param thread empty for the thread of the test, else its name, or the line of its first call
     * @param nth the number of the call among the calls with this name in its thread, from 1
     */
    record Call(String thread, String name, int nth) {
        @Override
        public String toString() {
            return thread.isEmpty() ? name : name + " " + nth + " of thread " + thread;
        }
    }

    private final Thread test = Thread.currentThread();
    private final Optional<Call> failing;
    // Guarded by this
    private final Map<Thread, String> threads = new HashMap<>();
    private final Map<String, Integer> threadsOfAName = new HashMap<>();
    private final Map<Call, Integer> counts = new HashMap<>();
    private final List<Call> calls = new ArrayList<>();
    private boolean failed;

    /** Must be created in the test's thread. */
    TurnCalls(Optional<Call> failing) {
        this.failing = failing;
    }

    @Override
    public synchronized boolean test(String name) {
        String thread = threads.computeIfAbsent(Thread.currentThread(), this::named);
        Call call = new Call(thread, name, counts.merge(new Call(thread, name, 0), 1, Integer::sum));
        calls.add(call);
        boolean fails = failing.filter(call::equals).isPresent();
        failed |= fails;
        return fails;
    }

    /** The name that the thread has in every run. */
    private String named(Thread thread) {
        if (thread == test) {
            return "";
        }
        String name = thread.getName().matches(NAMED_BY_JAVA) ? TestLine.here() : thread.getName();
        int sameName = threadsOfAName.merge(name, 1, Integer::sum);
        return sameName == 1 ? name : name + " (" + sameName + ")";
    }

    /** The calls that can fail, in their order. */
    synchronized List<Call> calls() {
        return List.copyOf(calls);
    }

    /** Whether the call of this run has failed. */
    synchronized boolean hasFailed() {
        return failed;
    }
}
