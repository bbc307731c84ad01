/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A waiter of an eventfd that reads the count at each signal, after irqfds: VFIO's unmask eventfd. */
public interface EventReader {
    /** The eventfd was signalled; or it had been when the reader was added, which leaves the count as it is. */
    void signalled();

    /** The last descriptor of the eventfd was closed. */
    void released();
}
