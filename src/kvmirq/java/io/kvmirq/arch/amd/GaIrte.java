/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.saying;
import static io.kvmirq.arch.amd.LegacyIrte.INT_TYPE;
import static io.kvmirq.arch.amd.LegacyIrte.LOGICAL;
import static io.kvmirq.arch.amd.LegacyIrte.NO_FAULT;
import static io.kvmirq.arch.amd.LegacyIrte.RQ_EOI;
import static io.kvmirq.arch.amd.LegacyIrte.VALID;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.FormatBuilder;
import io.kvmirq.arch.SplitField;

/** {@code struct irte_ga}, a 128-bit entry that interrupts a host CPU or, in guest mode, posts to a vCPU. */
public final class GaIrte {
    private static final int PAGE_BITS = 12;

    /** Guest mode: 1 if interrupts for a vCPU that is not running are logged in the GA log. */
    public static final BitField GA_LOG_INTR =
            BitField.flag("ga_log_intr", 2, "GALogIntr", "no GA log entry", "GA log entry if the vCPU does not run");

    /** Guest mode: 1 while the vCPU runs. */
    public static final BitField IS_RUN = BitField.flag("is_run", 6, "IsRun", "vCPU does not run", "vCPU runs");

    /** 1 if the entry is in guest mode, 0 if it is in remapped form. */
    public static final BitField GUEST_MODE = BitField.flag("guest_mode", 7, "GuestMode", "remapped", "guest");

    /** Destination bits 23:0. */
    public static final BitField DESTINATION_LOW =
            new BitField("destination_lo", 8, 24, always("Destination", "APIC id 23:0"));

    /** The {@link GaTag}, which identifies the VM and the vCPU in a GA log entry. */
    public static final BitField GA_TAG = new BitField(
            "ga_tag",
            32,
            32,
            saying(
                    "GATag",
                    (value, bits) -> "VM " + GaTag.VM.of(value) + ", vCPU " + GaTag.VCPU.of(value)
                            + " since Linux 6.18; VM " + GaTag.VM_6_1.of(value) + ", vCPU " + GaTag.VCPU_6_1.of(value)
                            + " on 6.1 to 6.17"));

    /** A guest vector in guest mode, a host vector in remapped form. */
    public static final BitField VECTOR = new BitField("vector", 64, 8, always("Vector", "guest vector"));

    /** Bits 51:12 of the vCPU's backing page address. */
    public static final BitField ROOT =
            new BitField("ga_root_ptr", 76, 40, always("GARootPtr", "backing page address 51:12"));

    /** The vCPU's backing page address. */
    public static final BitField BACKING_PAGE = new BitField(
            "derived_vapic_addr",
            ROOT.low(),
            ROOT.width(),
            always("", "backing page, with the encryption bit if there is one")
                    .shifted(PAGE_BITS)
                    .derived());

    /** Destination bits 31:24. */
    public static final BitField DESTINATION_HIGH =
            new BitField("destination_hi", 120, 8, always("Destination", "APIC id 31:24"));

    /** The APIC id of the host CPU that gets the interrupt or, in guest mode, runs the vCPU. */
    public static final SplitField DESTINATION = new SplitField(
            "derived_apicid",
            DESTINATION_LOW,
            DESTINATION_HIGH,
            always("", "APIC id").derived());

    /** The {@code kvmirq decode} format {@code irte.amd.ga.remap}, the kernel's {@code fields_remap}. */
    public static final Format REMAPPED = format("irte.amd.ga.remap", "AMD IRTE of 128 bits, remapped")
            .fields(INT_TYPE, RQ_EOI, LOGICAL)
            .fields(GUEST_MODE.as(GUEST_MODE.description().expecting(0, "the entry is of guest form")))
            .fields(DESTINATION_LOW, BitField.reserved(GA_TAG.name(), GA_TAG.low(), GA_TAG.width()))
            .fields(VECTOR.as(always("Vector", "host vector")))
            .fields(highHalf(BitField.reserved(ROOT.name(), ROOT.low(), ROOT.width())))
            .build();

    /** The {@code kvmirq decode} format {@code irte.amd.ga.vapic}, the kernel's {@code fields_vapic}. */
    public static final Format GUEST = format("irte.amd.ga.vapic", "AMD IRTE of 128 bits, guest")
            .fields(GA_LOG_INTR, BitField.reserved("rsvd1", 3, 3), IS_RUN)
            .fields(GUEST_MODE.as(GUEST_MODE.description().expecting(1, "the entry is of remapped form")))
            .fields(DESTINATION_LOW, GA_TAG, VECTOR)
            .fields(highHalf(ROOT))
            .fields(BACKING_PAGE)
            .build();

    private GaIrte() {}

    /**
     * Bits 63:0 of a valid entry in guest mode, for a vCPU that is not running. If {@code gaLogIntr} is true, the IOMMU
     * writes each interrupt to the GA log. Throws IllegalArgumentException if the tag has more than 32 bits.
     */
    public static long guestLow(long gaTag, boolean gaLogIntr) {
        return VALID.mask() | GUEST_MODE.mask() | (gaLogIntr ? GA_LOG_INTR.mask() : 0) | GA_TAG.with(gaTag);
    }

    /**
     * Bits 127:64 of an entry in guest mode, for a vCPU that is not running. Throws IllegalArgumentException unless the
     * page is at a 4096-byte boundary below 2^52.
     */
    public static long guestHigh(long backingPage, int guestVector) {
        return VECTOR.with(guestVector) | ROOT.with(backingPage >>> PAGE_BITS);
    }

    private static FormatBuilder format(String kind, String title) {
        return Format.builder(kind, title, 64, 2).fields(VALID, NO_FAULT).looked(bits -> VALID.isSet(bits[0]));
    }

    private static Field[] highHalf(BitField root) {
        return new Field[] {
            BitField.reserved("rsvd_1", 72, 4), root, BitField.reserved("rsvd_2", 116, 4), DESTINATION_HIGH, DESTINATION
        };
    }
}
