/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.Vector;
import java.util.Optional;

/** What became of a device's request. */
public sealed interface Outcome {
    /** It went on as the interrupt of the host that the entry says. */
    record Remapped(RemappedIrte entry) implements Outcome {}

    /**
     * Its vector was set in PIR.
     *
     * @param notification what was sent, unless one was outstanding or suppressed
     */
    record Posted(PostedIrte entry, Optional<Notification> notification) implements Outcome {}

    /**
     * An interrupt to a processor of the host.
     *
     * @param destination NDST, 32 bits unsigned
     */
    record Notification(Vector vector, long destination) {}

    /**
     * Nothing was done.
     *
     * @param recorded whether the unit records the fault: FPD of the entry may say it does not
     */
    record Blocked(FaultReason reason, boolean recorded) implements Outcome {}
}
