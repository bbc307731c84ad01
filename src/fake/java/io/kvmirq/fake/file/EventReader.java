/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A waiter that reads an eventfd's count at each signal, after irqfds have; VFIO has one for an unmask eventfd. */
public interface EventReader {
    /**
     * Called after a signal of the eventfd. If the eventfd was signalled before the reader was added, the addition
     * calls this method, but the count is not read.
     */
    void signalled();

    /** Called after the last descriptor of the eventfd was closed. */
    void released();
}
