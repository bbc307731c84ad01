/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

/** Hears what a self-test does while it does it. Called from the thread that runs the test. */
public interface Journal {
    /** A scenario begins. */
    void begin(Scenario scenario);

    /** Something was done, and the kernel or the guest answered. */
    void step(String done, String answer);

    /** The scenario of the last {@link #begin} is over. */
    void end(Result result);
}
