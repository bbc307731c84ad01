/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A waiter of an eventfd that reads the count at each signal, after irqfds, such as VFIO's for an unmask eventfd. */
public interface EventReader {
    /**
     * Called after a signal of the eventfd. If the eventfd was signalled before the reader was added, this method is
     * called too, but the count is not read.
     */
    void signalled();

    /** Called after the last descriptor of the eventfd was closed. */
    void released();
}
