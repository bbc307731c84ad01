/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Structure;

/**
 * A remapping unit's capabilities, from its registers CAP (offset 0x8) and ECAP (offset 0x10), which Linux shows as
 * {@code cap} and {@code ecap} under /sys/class/iommu.
 *
 * <p>Source: VT-d specification, Capability Register and Extended Capability Register; {@code cap_*} and {@code ecap_*}
 * in drivers/iommu/intel/iommu.h.
 *
 * @param cap the register CAP, 64 bits
 * @param ecap the register ECAP, 64 bits
 */
public record UnitCapabilities(long cap, long ecap) implements Structure {
    private static final int RESERVED_DOMAINS = 7;

    /** The number of domain ids, 16–65536, or 262144 for the reserved value. */
    public static final BitField DOMAINS = new BitField(
            "ndoms",
            0,
            3,
            saying("ND", (value, bits) -> value + " domains")
                    .computed(UnitCapabilities::domains)
                    .forbidding(
                            value -> value == domains(RESERVED_DOMAINS),
                            value -> "ND 7 is reserved, and is treated as 2^18"));

    /** Caching mode: 1 if a hypervisor emulates the unit, which can cache even entries that are not present. */
    public static final BitField CACHING =
            BitField.flag("cm", 7, "CM", "what is not present is not cached", "caching mode: an emulated unit");

    /** The guest address width in bits, 1–64. */
    public static final BitField ADDRESS_WIDTH = new BitField(
            "mgaw",
            16,
            6,
            saying("MGAW", (value, bits) -> "guest addresses of " + value + " bits")
                    .computed(field -> field + 1));

    /** The offset of the fault recording registers, in bytes from the first register. */
    public static final BitField FAULT_OFFSET = new BitField(
            "fro",
            24,
            10,
            always("FRO", "offset of the fault recording registers, in bytes").computed(f -> f * 16));

    /** The number of fault recording registers, 1–256. */
    public static final BitField FAULT_REGISTERS = new BitField(
            "nfr",
            40,
            8,
            saying("NFR", (value, bits) -> "fault recording registers: " + value)
                    .computed(field -> field + 1));

    /** 1 if the unit supports posted entries. Linux posts only if every unit has this bit. */
    public static final BitField POSTING = BitField.flag("pi", 59, "PI", "no posted interrupts", "posted interrupts");

    /** 1 if hardware invalidates its interrupt entry cache when software sets a new table. */
    public static final BitField FLUSHES_INTERRUPTS = BitField.flag(
            "esirtps", 62, "ESIRTPS", "software flushes for a new table", "hardware flushes for a new table");

    private static final BitField FLUSHES_ROOTS = BitField.bit(
            "esrtps",
            63,
            oneOf("ESRTPS", "software flushes for a new root table", "hardware flushes for a new root table")
                    .shown());

    /** 1 if the unit snoops the CPU caches when it reads its tables. */
    public static final BitField COHERENT =
            BitField.flag("coherent", 64, "C", "tables are not snooped", "tables are snooped");

    /** 1 if the unit supports queued invalidation, which interrupt remapping needs. */
    public static final BitField QUEUED =
            BitField.flag("qi", 65, "QI", "no queued invalidation", "queued invalidation");

    private static final BitField DEVICE_TLB =
            BitField.bit("dt", 66, oneOf("DT", "no device TLBs", "device TLBs").shown());

    /** 1 if the unit remaps interrupts. */
    public static final BitField REMAPPING =
            BitField.flag("ir", 67, "IR", "no interrupt remapping", "interrupt remapping");

    /** 1 if an entry's destination can be a 32-bit x2APIC id. */
    public static final BitField EXTENDED =
            BitField.flag("eim", 68, "EIM", "destinations of 8 bits", "x2APIC destinations");

    /** 1 if the unit can pass a device's DMA through untranslated. */
    public static final BitField PASS_THROUGH = BitField.flag("pt", 70, "PT", "no pass-through", "pass-through");

    /** 1 if the unit can force snooping of a device's DMA. */
    public static final BitField SNOOP = BitField.flag("sc", 71, "SC", "no snoop control", "snoop control");

    /** The largest n, 0–15, such that one invalidation command covers 2^n adjacent table entries. */
    public static final BitField HANDLE_MASK =
            new BitField("mhmv", 84, 4, always("MHMV", "an invalidation covers up to 2 to this power entries"));

    /** The {@code kvmirq decode} format {@code vtd.cap_ecap}: decode-only, because some values are computed. */
    public static final Format FORMAT = Format.builder("vtd.cap_ecap", "VT-d unit capabilities for interrupts", 64, 2)
            .wordNames("CAP", "ECAP")
            .fields(POSTING, FLUSHES_INTERRUPTS, FLUSHES_ROOTS, CACHING, DOMAINS, ADDRESS_WIDTH)
            .fields(FAULT_REGISTERS, FAULT_OFFSET)
            .fields(REMAPPING, EXTENDED, QUEUED, COHERENT, DEVICE_TLB, HANDLE_MASK, SNOOP, PASS_THROUGH)
            .build();

    private static long domains(long field) {
        return 1L << (4 + 2 * field);
    }

    @Override
    public Format format() {
        return FORMAT;
    }

    @Override
    public long[] bits() {
        return new long[] {cap, ecap};
    }

    @Override
    public String toString() {
        return FORMAT.text(cap, ecap);
    }
}
