/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A waiter of an eventfd that reads the count at each signal, after irqfds. An unmask eventfd of VFIO has one. */
public interface EventReader {
    /**
     * The eventfd was signalled. The method is also called if the eventfd was signalled before the reader was added;
     * then the count stays.
     */
    void signalled();

    /** The last descriptor of the eventfd was closed. */
    void released();
}
