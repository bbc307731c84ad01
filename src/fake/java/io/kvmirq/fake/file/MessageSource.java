/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A vector of a device, or an eventfd that a program or an ioeventfd signals. Its text names it in sentences. */
public interface MessageSource {
    /** Whether the program under test has ended it: its vector has no eventfd, its eventfd no descriptor. */
    boolean isEnded();

    boolean signals(MessageSource event);

    boolean hasIrqfd();
}
