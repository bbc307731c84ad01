/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.InterruptVector;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import java.util.Objects;
import java.util.Optional;

/**
 * The host's interrupt remapping table entry (IRTE) for one MSI or MSI-X vector of a fake device.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="hardware"}
 *
 * @param vcpu the vCPU that the entry posts to; empty if it does not post
 * @param guestVector the guest's vector, if the entry posts
 * @param words the entry's words, for {@code kvmirq decode}; empty if there is no entry, or the profile has no IOMMU
 */
@NotPromised
public record FakeIrte(Form form, Optional<VcpuId> vcpu, Optional<InterruptVector> guestVector, String words) {
    public FakeIrte {
        Objects.requireNonNull(form, "form is null");
        Objects.requireNonNull(guestVector, "guestVector is null");
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(words, "words is null");
    }

    /** The entry's effect on the device's MSI. */
    public enum Form {
        /** The host has allocated no irq for the device's vector, so there is no entry. */
        NONE,
        /** The MSI interrupts the host, and VFIO signals the eventfd. */
        REMAPPED,
        /** The message is posted to a vCPU. */
        POSTED
    }

    /** Whether the entry posts to a vCPU. */
    public boolean isPosted() {
        return form == Form.POSTED;
    }
}
