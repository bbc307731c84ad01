/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappedIrte;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * A host irq's entry in the table that its IOMMU reads, and the kernel's own records about it. Immutable.
 *
 * @param unit whose table it is
 * @param index its place in the table of the unit or, with AMD, of the device
 * @param source the requester id: of the device table with AMD, in the entry with VT-d
 * @param bits the size of the entry: 32 or 128
 * @param low bits 63:0
 * @param high bits 127:64; 0 in an entry of 32 bits
 * @param copy the kernel's copy. With VT-d it is the remapped form, also while the entry posts
 * @param posts whether the kernel's record says that it posts to a vCPU; empty if this kernel has no such record
 * @param hostPosts whether the host posts the irq to one of its own CPUs: intremap=posted_msi of Linux 6.11 and newer
 * @param target the vector and the CPU of the host that the remapped form delivers to; empty if the kernel shows none
 */
public record RemappingEntry(
        Vendor unit,
        int index,
        int source,
        int bits,
        long low,
        long high,
        Words copy,
        Optional<Boolean> posts,
        boolean hostPosts,
        Optional<Target> target) {
    /** The words of an entry. */
    public record Words(long low, long high) {}

    /** The allocation of the kernel's vector domain for an irq. */
    public record Target(int vector, long apicId) {}

    public RemappingEntry {
        Objects.requireNonNull(unit, "unit is null");
        Objects.requireNonNull(copy, "copy is null");
        Objects.requireNonNull(posts, "posts is null");
        Objects.requireNonNull(target, "target is null");
    }

    private static final int WORDS_128 = 128;
    /** Up to 6.4, KVM on AMD changes these in the table alone. */
    private static final Set<Field> CHANGING =
            Set.of(GaIrte.IS_RUN, GaIrte.GA_LOG_INTR, GaIrte.DESTINATION_LOW, GaIrte.DESTINATION_HIGH);

    /** Whether hardware uses it. */
    public boolean isPresent() {
        return unit == Vendor.INTEL ? Irte.PRESENT.isSet(low) : LegacyIrte.VALID.isSet(low);
    }

    /** Whether it has the posted form, or with AMD is in guest mode. */
    public boolean isPosted() {
        return unit == Vendor.INTEL ? Irte.POSTED.isSet(low) : bits == WORDS_128 && GaIrte.GUEST_MODE.isSet(low);
    }

    /** Whether it posts to a vCPU. Where the host posts irqs to its own CPUs, the kernel's record tells. */
    public boolean isPostedToGuest() {
        return isPosted() && (!hostPosts || posts.orElse(false));
    }

    /** Whether a field changes whenever the vCPU of a posted entry is loaded or put. */
    public boolean changes(Field field) {
        return unit == Vendor.AMD && isPosted() && CHANGING.contains(field);
    }

    /** Words in the form that a field of the entry's format takes. */
    public long[] words(long first, long second) {
        return format().wordCount() == 1 ? new long[] {first} : new long[] {first, second};
    }

    /** Whether another reading of the entry differs at most in fields that change. */
    boolean isSame(RemappingEntry other) {
        return unit == other.unit
                && index == other.index
                && source == other.source
                && isPosted() == other.isPosted()
                && format().fields().stream()
                        .filter(field -> field.isStored() && !changes(field))
                        .allMatch(field -> field.value(words(low, high)) == field.value(words(other.low, other.high)));
    }

    /** The layout of its form. */
    public Format format() {
        if (unit == Vendor.INTEL) {
            return isPosted() ? PostedIrte.FORMAT : RemappedIrte.FORMAT;
        }
        return bits != WORDS_128 ? LegacyIrte.FORMAT : isPosted() ? GaIrte.GUEST : GaIrte.REMAPPED;
    }

    /** The vector: the guest's if it posts, or else the host's. */
    public int vector() {
        if (unit == Vendor.INTEL) {
            return (int) Irte.VECTOR.of(low);
        }
        return (int) (bits == WORDS_128 ? GaIrte.VECTOR.of(high) : LegacyIrte.VECTOR.of(low));
    }
}
