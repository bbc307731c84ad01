/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

/** Receives signals, as an eventfd does. */
@FunctionalInterface
public interface Signal {
    /** Signals once. Any thread may call this. */
    void signal();
}
