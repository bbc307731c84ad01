/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.InterruptVector;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.path.FieldValue;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A remapping entry's predicted form, and the bits that a VMM can know. Bits that the host chooses are not predicted: a
 * remapped entry's vector and destination, the address of a descriptor or backing page, the VM id in a GATag, and the
 * source id. Immutable.
 */
@NotPromised
public sealed interface PredictedIrte {
    /** The mask of known bits in bits 63:0. */
    long lowMask();

    /** Bits 63:0, with unknown bits 0. */
    long low();

    /** The mask of known bits in bits 127:64; 0 by default. */
    default long highMask() {
        return 0;
    }

    /** Bits 127:64, with unknown bits 0. */
    default long high() {
        return 0;
    }

    /**
     * Whether an observed entry agrees in all known bits. Pass 0 as {@code observedHigh} for a 32-bit entry. Does not
     * allocate.
     */
    default boolean agrees(long observedLow, long observedHigh) {
        return (observedLow & lowMask()) == low() && (observedHigh & highMask()) == high();
    }

    /** The entry's format, with the names and bits of its fields. */
    Format format();

    /** The entry's form in a few words, such as {@code VT-d IRTE, posted}. */
    default String form() {
        return format().title();
    }

    /**
     * The fields of {@link #format} in the format's order, without reserved bits, each with its predicted value or the
     * reason why the field is not predicted.
     */
    default List<FieldValue> fields() {
        boolean stopped = this instanceof AmdGuest guest
                && guest.isRun().filter(runs -> !runs).isPresent();
        return PredictedFields.of(format(), new long[] {lowMask(), highMask()}, new long[] {low(), high()}, stopped);
    }

    /** VT-d: the entry is in remapped form, so a host CPU gets the interrupt. */
    record VtdRemapped() implements PredictedIrte {
        @Override
        public Format format() {
            return RemappedIrte.FORMAT;
        }

        @Override
        public long lowMask() {
            return Irte.PRESENT.mask() | Irte.POSTED.mask();
        }

        @Override
        public long low() {
            return Irte.PRESENT.mask();
        }
    }

    /** VT-d: the entry posts to a vCPU's descriptor. KVM never sets URG. */
    record VtdPosted(VcpuId vcpu, InterruptVector vector) implements PredictedIrte {
        public VtdPosted {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(vector, "vector is null");
        }

        @Override
        public Format format() {
            return PostedIrte.FORMAT;
        }

        @Override
        public long lowMask() {
            return Irte.PRESENT.mask() | Irte.POSTED.mask() | PostedIrte.URGENT.mask() | Irte.VECTOR.mask();
        }

        @Override
        public long low() {
            return PostedIrte.lowWord(0, vector.number());
        }
    }

    /** AMD: a host CPU gets the interrupt. {@code bits}, the entry's size, is 32, 128, or empty if unknown. */
    record AmdRemapped(OptionalInt bits) implements PredictedIrte {
        public AmdRemapped {
            Objects.requireNonNull(bits, "bits is null");
        }

        @Override
        public Format format() {
            return bits.orElse(0) == GaIrte.REMAPPED.wordBits() * GaIrte.REMAPPED.wordCount()
                    ? GaIrte.REMAPPED
                    : LegacyIrte.FORMAT;
        }

        /** Bit 7 is 0 in both sizes, because it is GuestMode in a 128-bit entry and reserved in a 32-bit entry. */
        @Override
        public long lowMask() {
            return LegacyIrte.VALID.mask() | GaIrte.GUEST_MODE.mask();
        }

        @Override
        public long low() {
            return LegacyIrte.VALID.mask();
        }
    }

    /**
     * AMD: the entry is in guest mode and posts to a vCPU.
     *
     * @param vcpu the vCPU to which the entry posts
     * @param isRun whether the vCPU runs, empty if no event reported it
     * @param gaLogIntr whether an interrupt is written to the GA log while the vCPU does not run, empty if unknown
     * @param destination the physical APIC id of the CPU that runs the vCPU. Empty if {@code isRun} is empty or false,
     *     because a stopped vCPU's field keeps an old value
     */
    record AmdGuest(
            VcpuId vcpu,
            InterruptVector vector,
            Optional<Boolean> isRun,
            Optional<Boolean> gaLogIntr,
            OptionalInt destination)
            implements PredictedIrte {
        public AmdGuest {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(vector, "vector is null");
            Objects.requireNonNull(isRun, "isRun is null");
            Objects.requireNonNull(gaLogIntr, "gaLogIntr is null");
            Objects.requireNonNull(destination, "destination is null");
        }

        private static final int DESTINATION_LOW_BITS = GaIrte.DESTINATION_LOW.width();

        @Override
        public Format format() {
            return GaIrte.GUEST;
        }

        @Override
        public long lowMask() {
            return GaIrte.guestLow(0, false)
                    | (isRun.isPresent() ? GaIrte.IS_RUN.mask() : 0)
                    | (gaLogIntr.isPresent() ? GaIrte.GA_LOG_INTR.mask() : 0)
                    | (destination.isPresent() ? GaIrte.DESTINATION_LOW.mask() : 0);
        }

        @Override
        public long low() {
            long id = destination.orElse(0) & GaIrte.DESTINATION_LOW.max();
            return GaIrte.guestLow(0, gaLogIntr.orElse(false))
                    | (isRun.orElse(false) ? GaIrte.IS_RUN.mask() : 0)
                    | GaIrte.DESTINATION_LOW.with(id);
        }

        @Override
        public long highMask() {
            return GaIrte.VECTOR.mask() | (destination.isPresent() ? GaIrte.DESTINATION_HIGH.mask() : 0);
        }

        @Override
        public long high() {
            return GaIrte.guestHigh(0, vector.number())
                    | GaIrte.DESTINATION_HIGH.with(destination.orElse(0) >>> DESTINATION_LOW_BITS);
        }
    }
}
