/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A vector of a device, or an eventfd that a program or an ioeventfd signals. toString returns its name. */
public interface MessageSource {
    /** Whether the program has ended the source: the vector has no eventfd, or the eventfd no descriptor. */
    boolean isEnded();

    boolean signals(MessageSource event);

    boolean hasIrqfd();

    /** Whether the source is an eventfd that has had an irqfd: its messages are meant for a guest. */
    default boolean hadIrqfd() {
        return false;
    }
}
