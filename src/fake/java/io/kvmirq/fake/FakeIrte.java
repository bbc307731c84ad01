/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.InterruptVector;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import java.util.Objects;
import java.util.Optional;

/**
 * The entry of the host's remapping unit for a message of a device.
 *
 * @param vcpu the vCPU that the entry posts to
 * @param guestVector the vector in the guest, if the entry posts
 * @param words the entry as {@code kvmirq decode} takes it; empty if there is none, or if the profile names no hardware
 */
@NotPromised
public record FakeIrte(Form form, Optional<VcpuId> vcpu, Optional<InterruptVector> guestVector, String words) {
    public FakeIrte {
        Objects.requireNonNull(form, "form is null");
        Objects.requireNonNull(guestVector, "guestVector is null");
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(words, "words is null");
    }

    /** The form of an entry. */
    public enum Form {
        /** The vector has no interrupt of the host. */
        NONE,
        /** The host is interrupted, and VFIO signals the eventfd. */
        REMAPPED,
        /** The message goes to a vCPU. */
        POSTED
    }

    /** Whether the entry posts. */
    public boolean isPosted() {
        return form == Form.POSTED;
    }
}
