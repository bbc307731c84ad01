/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import java.util.List;

/** What an IOMMU of AMD remaps interrupts with: its table's entries, and where a device's table is. */
public final class RemappingFormats {
    private static final Meaning NOTHING = Meaning.always("");
    private static final BitField VALID = BitField.bit("valid", 0);
    private static final BitField NO_FAULT = BitField.bit("no_fault", 1);
    private static final BitField INT_TYPE = new BitField("int_type", 2, 3);
    private static final BitField RQ_EOI = BitField.bit("rq_eoi", 5);
    private static final BitField LOGICAL = BitField.bit("dm", 6);
    private static final BitField GUEST_MODE = BitField.bit("guest_mode", 7);
    private static final BitField DESTINATION_LOW = new BitField("destination_lo", 8, 24);
    private static final BitField GA_TAG = new BitField("ga_tag", 32, 32);
    private static final BitField VECTOR = new BitField("vector", 64, 8);
    private static final BitField ROOT = new BitField("ga_root_ptr", 76, 40);
    private static final BitField DESTINATION_HIGH = new BitField("destination_hi", 120, 8);
    private static final BitField INTERRUPTS_VALID = BitField.bit("iv", 0);
    private static final BitField TABLE_LENGTH = new BitField("inttablen", 1, 4);
    private static final int LONGEST_TABLE = 11;
    private static final int PAGE_BITS = 12;

    private static final Rule INT_TYPE_KNOWN = Rule.of(
            INT_TYPE,
            bits -> INT_TYPE.of(bits[0]) > 1,
            value -> "interrupt type " + value + " is reserved in an entry");

    /** Kind {@code irte.amd.legacy32}: {@code union irte}. */
    public static final Format LEGACY = Format.builder("irte.amd.legacy32", "AMD IRTE of 32 bits", 32, 1)
            .fields(inUse(), noFault(), intType(), rqEoi(), logical())
            .fields(
                    Field.reserved(BitField.bit("rsvd_1", 7)),
                    Field.of("Destination", Meaning.always("APIC id"), new BitField("destination", 8, 8)),
                    Field.of("Vector", Meaning.always("host vector"), new BitField("vector", 16, 8)),
                    Field.reserved(new BitField("rsvd_2", 24, 8)))
            .looked(RemappingFormats::isInUse)
            .rules(INT_TYPE_KNOWN)
            .build();

    /** Kind {@code irte.amd.ga.remap}: {@code struct irte_ga}, its {@code fields_remap}. */
    public static final Format REMAPPED = Format.builder("irte.amd.ga.remap", "AMD IRTE of 128 bits, remapped", 64, 2)
            .fields(inUse(), noFault(), intType(), rqEoi(), logical())
            .fields(
                    guestMode(),
                    destinationLow(),
                    Field.of("GATag", Meaning.always("unused when remapped"), GA_TAG),
                    Field.of("Vector", Meaning.always("host vector"), VECTOR))
            .fields(highHalf())
            .looked(RemappingFormats::isInUse)
            .rules(INT_TYPE_KNOWN, Rule.is(GUEST_MODE, 0, "the entry is of guest form"))
            .build();

    /** Kind {@code irte.amd.ga.vapic}: {@code struct irte_ga}, its {@code fields_vapic}. */
    public static final Format GUEST = Format.builder("irte.amd.ga.vapic", "AMD IRTE of 128 bits, guest", 64, 2)
            .fields(inUse(), noFault())
            .fields(
                    Field.of(
                            "GALogIntr",
                            Meaning.oneOf("no GA log entry", "GA log entry if the vCPU does not run"),
                            BitField.bit("ga_log_intr", 2)),
                    Field.reserved(new BitField("rsvd1", 3, 3)),
                    Field.of("IsRun", Meaning.oneOf("vCPU does not run", "vCPU runs"), BitField.bit("is_run", 6)),
                    guestMode(),
                    destinationLow(),
                    Field.of(
                            "GATag",
                            (value, bits) -> "VM " + (value >>> 12) + ", vCPU " + (value & 0xfff) + " on Linux 7.1",
                            GA_TAG),
                    Field.of("Vector", Meaning.always("guest vector"), VECTOR))
            .fields(highHalf())
            .fields(Field.of("", Meaning.always("backing page, with the encryption bit if there is one"), ROOT)
                    .named("derived_vapic_addr")
                    .shifted(PAGE_BITS)
                    .derived())
            .looked(RemappingFormats::isInUse)
            .rules(Rule.is(GUEST_MODE, 1, "the entry is of remapped form"))
            .build();

    /** Kind {@code amd.dte.data2}: the third quarter of a device table entry, {@code set_dte_irq_entry}. */
    public static final Format DEVICE = Format.builder("amd.dte.data2", "AMD DTE, bits 191:128", 64, 1)
            .fields(
                    Field.of(
                            "IV", Meaning.oneOf("interrupts pass unmapped", "what follows is valid"), INTERRUPTS_VALID),
                    Field.of("IntTabLen", (value, bits) -> (1L << value) + " entries", TABLE_LENGTH),
                    Field.of("IntTabRoot", Meaning.always("table address"), new BitField("table_phys", 6, 46))
                            .shifted(6),
                    Field.of(
                            "IntCtl",
                            Meaning.oneOf("block", "forward unmapped", "remap"),
                            new BitField("intctl", 60, 2)),
                    Field.of("IG", Meaning.oneOf("faults recorded", "faults not recorded"), BitField.bit("ig", 5))
                            .ordinarily(0),
                    Field.reserved(new BitField("rsvd_52_55", 52, 4)).ordinarily(0),
                    passed("InitPass", "init_pass", 56),
                    passed("EIntPass", "eint_pass", 57),
                    passed("NMIPass", "nmi_pass", 58),
                    Field.of("", NOTHING, BitField.bit("bit_59", 59)).ordinarily(0),
                    passed("Lint0Pass", "lint0_pass", 62),
                    passed("Lint1Pass", "lint1_pass", 63))
            .looked(bits -> INTERRUPTS_VALID.isSet(bits[0]))
            .rules(Rule.of(
                    TABLE_LENGTH,
                    bits -> TABLE_LENGTH.of(bits[0]) > LONGEST_TABLE,
                    value -> "table length " + value + " is reserved: expected 0–11"))
            .build();

    /** All of them. */
    public static final List<Format> ALL = List.of(LEGACY, REMAPPED, GUEST, DEVICE);

    private RemappingFormats() {}

    private static Field passed(String label, String name, int bit) {
        return Field.of(label, Meaning.oneOf("block", "pass unmapped"), BitField.bit(name, bit))
                .ordinarily(0);
    }

    private static boolean isInUse(long[] bits) {
        return VALID.isSet(bits[0]);
    }

    private static Field inUse() {
        return Field.of("RemapEn", Meaning.oneOf("not in use", "in use"), VALID);
    }

    private static Field noFault() {
        return Field.of("SupIOPF", Meaning.oneOf("faults recorded", "faults not recorded"), NO_FAULT);
    }

    private static Field intType() {
        return Field.of("IntType", Meaning.oneOf("fixed", "arbitrated"), INT_TYPE);
    }

    private static Field rqEoi() {
        return Field.of("RqEoi", Meaning.oneOf("no EOI asked for", "EOI asked for"), RQ_EOI);
    }

    private static Field logical() {
        return Field.of("DM", Meaning.oneOf("physical", "logical"), LOGICAL);
    }

    private static Field guestMode() {
        return Field.of("GuestMode", Meaning.oneOf("remapped", "guest"), GUEST_MODE);
    }

    private static Field destinationLow() {
        return Field.of("Destination", Meaning.always("APIC id 23:0"), DESTINATION_LOW);
    }

    private static Field[] highHalf() {
        return new Field[] {
            Field.reserved(new BitField("rsvd_1", 72, 4)),
            Field.of("GARootPtr", Meaning.always("backing page address 51:12"), ROOT),
            Field.reserved(new BitField("rsvd_2", 116, 4)),
            Field.of("Destination", Meaning.always("APIC id 31:24"), DESTINATION_HIGH),
            Field.of("", Meaning.always("APIC id"), DESTINATION_LOW, DESTINATION_HIGH)
                    .named("derived_apicid")
                    .derived()
        };
    }
}
