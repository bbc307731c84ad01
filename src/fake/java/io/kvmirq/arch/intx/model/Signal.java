/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/**
 * Receives signals, as an eventfd does. The caller may hold locks, so {@link #signal} must not throw, wait, or call a
 * method of its caller.
 */
@FunctionalInterface
public interface Signal {
    /** Signals once. Any thread may call this method. */
    void signal();
}
