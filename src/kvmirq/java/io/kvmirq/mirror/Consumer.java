/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import java.util.Objects;
import java.util.Optional;

/**
 * The guest's end of an interrupt: an irqfd.
 *
 * @param gsi the GSI that the irqfd raises
 * @param resample the eventfd that the guest's EOI signals, for a level-triggered interrupt
 */
public record Consumer(Gsi gsi, Optional<EventFdId> resample) {
    public Consumer {
        Objects.requireNonNull(gsi, "gsi is null");
        Objects.requireNonNull(resample, "resample is null");
    }
}
