/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;
import java.util.Objects;
import java.util.Optional;

/**
 * KVM's last update of an x86 remapping entry, from which its form is predicted. Immutable.
 *
 * @param last the event that made KVM write the entry
 * @param next the prediction after KVM's next update, if an event since {@code last}, such as a new vCPU, changes it.
 *     Masking and unmasking the interrupt makes KVM update the entry. Empty if the update changes nothing, a {@link
 *     Posting.Unknown} if it may
 */
@NotPromised
public record EntryUpdate(Moment last, Optional<Posting> next) {
    public EntryUpdate {
        Objects.requireNonNull(last, "last is null");
        Objects.requireNonNull(next, "next is null");
    }

    /** The last update and, if it differs, the next one, in one line. */
    @Override
    public String toString() {
        return "KVM looked for the vCPU when " + last
                + next.map(posting -> "; after a mask and an unmask: " + posting.text())
                        .orElse("");
    }

    /** An event at which KVM writes an entry. */
    public enum Moment {
        /** An irqfd was assigned to the interrupt's eventfd. */
        IRQFD_ASSIGNED("the irqfd was assigned"),
        /** VFIO enabled the device's vector on the interrupt's eventfd. */
        VECTOR_ENABLED("VFIO enabled the vector"),
        /** The MSI in the route of the irqfd's GSI changed. */
        ROUTE_CHANGED("the message changed");

        private final String label;

        Moment(String label) {
            this.label = label;
        }

        @Override
        public String toString() {
            return label;
        }
    }
}
