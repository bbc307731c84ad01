/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

/**
 * Receives signals, as an eventfd does. It may be called under locks of the caller: it must not throw, wait, or call a
 * method of the object that signals.
 */
@FunctionalInterface
public interface Signal {
    /** Signals once. Any thread may call this. */
    void signal();
}
