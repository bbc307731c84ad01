/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.arch.apic.PostedInterruptDescriptor;

/** What became of a device's request. */
public sealed interface Outcome {
    /** It went on as the interrupt of the host that the entry says. */
    record Remapped(RemappedIrte entry) implements Outcome {}

    /**
     * Its vector was set in PIR.
     *
     * @param notification 0, or the word of the descriptor whose NV and NDST say which vector went where
     */
    record Posted(PostedIrte entry, long notification) implements Outcome {
        /** Whether a processor was notified. */
        public boolean isNotified() {
            return notification != 0;
        }

        /** The vector that was sent, 0–255; only where one was. */
        public int notificationVector() {
            return (int) PostedInterruptDescriptor.NV.of(notification);
        }

        /** NDST, 32 bits unsigned; only where a processor was notified. */
        public long notificationDestination() {
            return PostedInterruptDescriptor.NDST.of(notification);
        }
    }

    /**
     * Nothing was done.
     *
     * @param recorded whether the unit records the fault: FPD of the entry may say it does not
     */
    record Blocked(FaultReason reason, boolean recorded) implements Outcome {}
}
