/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

/**
 * Receives the steps of a self-test as they happen; each method does nothing unless it is overridden. The thread that runs
 * the test makes the calls.
 */
public interface SelftestListener {
    default void begin(Scenario scenario) {}

    /** A step is done, and the kernel or the guest has answered. */
    default void step(String done, String answer) {}

    /**
     * A round trip of the running scenario is over; called for each, so return at once.
     *
     * @param done round trips so far, at least 1
     * @param total round trips asked for
     */
    default void progress(long done, long total) {}

    /** The scenario of the last {@link #begin} is over. */
    default void end(Result result) {}
}
