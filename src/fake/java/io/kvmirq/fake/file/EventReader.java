/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A waiter of an eventfd that reads the count at each signal, after irqfds. VFIO's unmask eventfd has one. */
public interface EventReader {
    /** The eventfd was signalled. Also called if it was signalled before the reader was added; the count then stays. */
    void signalled();

    /** The last descriptor of the eventfd was closed. */
    void released();
}
