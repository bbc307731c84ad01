/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappedIrte;
import java.util.Objects;
import java.util.Optional;

/** How a remapping unit handled a device's interrupt request. */
public sealed interface RemappingOutcome {
    /** The unit sent the host interrupt that the remapped entry describes. */
    record Remapped(RemappedIrte entry) implements RemappingOutcome {
        public Remapped {
            Objects.requireNonNull(entry, "entry is null");
        }
    }

    /** The unit set the vector in PIR. The notification is empty if ON was set, or SN suppresses it. */
    record Posted(PostedIrte entry, Optional<Notification> notification) implements RemappingOutcome {
        public Posted {
            Objects.requireNonNull(entry, "entry is null");
            Objects.requireNonNull(notification, "notification is null");
        }
    }

    /** A notification interrupt to a host CPU, with vector NV and the 32-bit NDST as its destination. */
    record Notification(InterruptVector vector, long destination) {
        public Notification {
            Objects.requireNonNull(vector, "vector is null");
        }
    }

    /** The unit blocked the request. {@code recorded} is false if FPD suppresses the fault record. */
    record Blocked(FaultReason reason, boolean recorded) implements RemappingOutcome {
        public Blocked {
            Objects.requireNonNull(reason, "reason is null");
        }
    }
}
