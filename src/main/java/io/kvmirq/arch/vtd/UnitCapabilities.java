/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import io.kvmirq.arch.Violation;
import java.util.List;

/**
 * What one remapping unit can do: its registers CAP (offset 0x8) and ECAP (offset 0x10), which Linux shows as {@code
 * cap} and {@code ecap} under /sys/class/iommu. Both words are kept whole.
 *
 * <p>Source: VT-d specification, Capability Register and Extended Capability Register; {@code cap_*} and {@code ecap_*}
 * in drivers/iommu/intel/iommu.h.
 *
 * @param cap 64 bits
 * @param ecap 64 bits
 */
public record UnitCapabilities(long cap, long ecap) {
    private static final BitField DOMAINS = new BitField("ndoms", 0, 3);
    private static final BitField CACHING = BitField.bit("cm", 7);
    private static final BitField ADDRESS_WIDTH = new BitField("mgaw", 16, 6);
    private static final BitField FAULT_OFFSET = new BitField("fro", 24, 10);
    private static final BitField FAULT_REGISTERS = new BitField("nfr", 40, 8);
    private static final BitField POSTING = BitField.bit("pi", 59);
    private static final BitField FLUSHES_INTERRUPTS = BitField.bit("esirtps", 62);
    private static final BitField FLUSHES_ROOTS = BitField.bit("esrtps", 63);
    private static final BitField COHERENT = BitField.bit("coherent", 64);
    private static final BitField QUEUED = BitField.bit("qi", 65);
    private static final BitField DEVICE_TLB = BitField.bit("dt", 66);
    private static final BitField REMAPPING = BitField.bit("ir", 67);
    private static final BitField EXTENDED = BitField.bit("eim", 68);
    private static final BitField PASS_THROUGH = BitField.bit("pt", 70);
    private static final BitField SNOOP = BitField.bit("sc", 71);
    private static final BitField HANDLE_MASK = new BitField("mhmv", 84, 4);
    private static final int RESERVED_DOMAINS = 7;

    /** Kind {@code vtd.cap_ecap}: its fields are computed, so it is decoded only. */
    public static final Format FORMAT = Format.builder("vtd.cap_ecap", "VT-d unit capabilities for interrupts", 64, 2)
            .wordNames("CAP", "ECAP")
            .fields(
                    Field.of("PI", Meaning.oneOf("no posted interrupts", "posted interrupts"), POSTING),
                    Field.of(
                            "ESIRTPS",
                            Meaning.oneOf("software flushes for a new table", "hardware flushes for a new table"),
                            FLUSHES_INTERRUPTS),
                    Field.of(
                                    "ESRTPS",
                                    Meaning.oneOf(
                                            "software flushes for a new root table",
                                            "hardware flushes for a new root table"),
                                    FLUSHES_ROOTS)
                            .shown(),
                    Field.of(
                            "CM",
                            Meaning.oneOf("what is not present is not cached", "caching mode: an emulated unit"),
                            CACHING),
                    Field.of("ND", (value, bits) -> value + " domains", DOMAINS).computed(UnitCapabilities::domains),
                    Field.of("MGAW", (value, bits) -> "guest addresses of " + value + " bits", ADDRESS_WIDTH)
                            .computed(field -> field + 1),
                    Field.of("NFR", (value, bits) -> "fault recording registers: " + value, FAULT_REGISTERS)
                            .computed(field -> field + 1),
                    Field.of("FRO", Meaning.always("offset of the fault recording registers, in bytes"), FAULT_OFFSET)
                            .computed(field -> field * 16),
                    Field.of("IR", Meaning.oneOf("no interrupt remapping", "interrupt remapping"), REMAPPING),
                    Field.of("EIM", Meaning.oneOf("destinations of 8 bits", "x2APIC destinations"), EXTENDED),
                    Field.of("QI", Meaning.oneOf("no queued invalidation", "queued invalidation"), QUEUED),
                    Field.of("C", Meaning.oneOf("tables are not snooped", "tables are snooped"), COHERENT),
                    Field.of("DT", Meaning.oneOf("no device TLBs", "device TLBs"), DEVICE_TLB)
                            .shown(),
                    Field.of(
                            "MHMV",
                            Meaning.always("an invalidation covers up to 2 to this power entries"),
                            HANDLE_MASK),
                    Field.of("SC", Meaning.oneOf("no snoop control", "snoop control"), SNOOP),
                    Field.of("PT", Meaning.oneOf("no pass-through", "pass-through"), PASS_THROUGH))
            .rules(Rule.of(
                    DOMAINS,
                    bits -> DOMAINS.of(bits[0]) == RESERVED_DOMAINS,
                    value -> "ND 7 is reserved, and is taken for 2^18"))
            .build();

    private static long domains(long field) {
        return 1L << (4 + 2 * field);
    }

    /** Whether an entry of this unit may post: every unit of a host has to. */
    public boolean hasPosting() {
        return POSTING.isSet(cap);
    }

    /** Whether this unit remaps interrupts at all: every unit of a host has to. */
    public boolean hasRemapping() {
        return REMAPPING.isSet(ecap);
    }

    /** Whether an entry's destination is an x2APIC id of 32 bits. */
    public boolean hasX2apicDestinations() {
        return EXTENDED.isSet(ecap);
    }

    /** Whether invalidations are queued, which remapping needs. */
    public boolean hasQueuedInvalidation() {
        return QUEUED.isSet(ecap);
    }

    /** Whether the unit snoops the caches for its tables, which then need no flush. */
    public boolean isCoherent() {
        return COHERENT.isSet(ecap);
    }

    /** Whether the unit is another hypervisor's, and caches what is not present too. */
    public boolean isCachingMode() {
        return CACHING.isSet(cap);
    }

    /** Whether the hardware flushes its interrupt cache when it is given a new table. */
    public boolean flushesInterruptCache() {
        return FLUSHES_INTERRUPTS.isSet(cap);
    }

    /** Whether it can force snooping of a device's DMA. */
    public boolean hasSnoopControl() {
        return SNOOP.isSet(ecap);
    }

    /** Whether it can leave DMA untranslated by device. */
    public boolean hasPassThrough() {
        return PASS_THROUGH.isSet(ecap);
    }

    /** Width of a guest address in bits, 1–64. */
    public int addressWidth() {
        return (int) ADDRESS_WIDTH.of(cap) + 1;
    }

    /** How many domains it tells apart, 16–65536; 262144 where the field has its reserved value. */
    public int domainCount() {
        return (int) domains(DOMAINS.of(cap));
    }

    /** How many fault recording registers it has, 1–256. */
    public int faultRegisters() {
        return (int) FAULT_REGISTERS.of(cap) + 1;
    }

    /** Where its fault recording registers begin, in bytes from the first register. */
    public int faultOffset() {
        return (int) FAULT_OFFSET.of(cap) * 16;
    }

    /** How many low bits of an index an invalidation can mask, 0–15: a block of messages is as long as two to that. */
    public int handleMask() {
        return (int) HANDLE_MASK.of(ecap);
    }

    /** What the manual forbids and is so. */
    public List<Violation> violations() {
        return FORMAT.violations(cap, ecap);
    }

    /** As {@code kvmirq decode} takes it. */
    @Override
    public String toString() {
        return FORMAT.text(cap, ecap);
    }
}
