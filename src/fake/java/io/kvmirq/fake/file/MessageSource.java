/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A vector of a device, or an eventfd that a program or an ioeventfd signals. toString returns its name. */
public interface MessageSource {
    /** Whether the program has ended the source: the vector has no eventfd, or the eventfd no descriptor. */
    boolean isEnded();

    boolean signals(MessageSource event);

    boolean hasIrqfd();

    /** Whether the source is an eventfd that ever had an irqfd, so that its messages are for a guest. */
    default boolean hadIrqfd() {
        return false;
    }
}
