/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import java.util.Objects;
import java.util.Optional;

/**
 * The guest end of a device interrupt: an irqfd, which raises a GSI when its eventfd is signalled. For a
 * level-triggered interrupt, the guest's EOI signals the eventfd {@code resample}.
 */
public record Consumer(Gsi gsi, Optional<EventFdId> resample) {
    public Consumer {
        Objects.requireNonNull(gsi, "gsi is null");
        Objects.requireNonNull(resample, "resample is null");
    }
}
