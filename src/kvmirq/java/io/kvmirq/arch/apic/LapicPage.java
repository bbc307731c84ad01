/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.FormatBuilder;
import io.kvmirq.arch.Meaning;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * A LAPIC's register page. Names ending in {@code _AT} are byte offsets. Registers are 32 bits wide, and ISR, TMR and
 * IRR are eight registers each. The bit positions of {@link BitField}s here count from bit 0 of the register.
 *
 * <p>Source: Intel SDM volume 3, "Local APIC Register Address Map" and the registers' figures;
 * arch/x86/include/asm/apicdef.h.
 */
public final class LapicPage {
    /** The distance between two registers, in bytes. */
    public static final int STRIDE = 0x10;

    /** ID: the APIC id. */
    public static final int ID_AT = 0x20;

    /** The version register. */
    public static final int VERSION_AT = 0x30;

    /** TPR: task priority. */
    public static final int TPR_AT = 0x80;

    /** PPR: processor priority. */
    public static final int PPR_AT = 0xa0;

    /** EOI: a write ends the highest-priority interrupt in service. */
    public static final int EOI_AT = 0xb0;

    /** LDR: the logical id. */
    public static final int LDR_AT = 0xd0;

    /** DFR: the format of xAPIC logical ids. */
    public static final int DFR_AT = 0xe0;

    /** SVR: spurious vector and the software enable bit. */
    public static final int SVR_AT = 0xf0;

    /** ISR: vectors in service. */
    public static final int ISR_AT = 0x100;

    /** TMR: vectors that are level-triggered. */
    public static final int TMR_AT = 0x180;

    /** IRR: requested vectors. */
    public static final int IRR_AT = 0x200;

    /** ESR: errors. */
    public static final int ESR_AT = 0x280;

    /** The local vector table's register for corrected machine checks. */
    public static final int LVT_CMCI_AT = 0x2f0;

    /** ICR: the low half of the interrupt command. The high half is the next register. */
    public static final int ICR_AT = 0x300;

    /** The local vector table's first register, the timer's. The others follow, {@link #STRIDE} bytes apart. */
    public static final int LVT_AT = 0x320;

    /** The local vector table's register for pin LINT0, to which a PIC is connected. */
    public static final int LINT0_AT = 0x350;

    /** TMICT: the initial count of the timer. */
    public static final int INITIAL_COUNT_AT = 0x380;

    /** TMCCT: the current count of the timer. */
    public static final int CURRENT_COUNT_AT = 0x390;

    /** TDCR: the divider of the timer. */
    public static final int DIVIDER_AT = 0x3e0;

    /** The number of registers of the local vector table: timer, thermal, performance, LINT0, LINT1, error. */
    public static final int LVT_COUNT = 6;

    /** The id in the ID and LDR registers in xAPIC mode. In x2APIC mode, the whole register is the id. */
    public static final BitField XAPIC_ID = new BitField("xapic_id", 24, 8, always("ID", "xAPIC id"));

    /** Version: 1 if the guest can suppress EOI broadcasts and write each EOI to the IOAPIC itself. */
    public static final BitField DIRECTED_EOI =
            BitField.flag("directed_eoi", 24, "", "EOIs are broadcast", "EOI broadcasts can be suppressed");

    /** LDR in x2APIC mode: the cluster number. */
    public static final BitField CLUSTER = new BitField("cluster", 16, 16, always("", "x2APIC cluster"));

    /** LDR in x2APIC mode: the cluster's members, one bit each. */
    public static final BitField MEMBERS = new BitField("members", 0, 16, always("", "members of the cluster"));

    /** DFR of the flat model, in which each of a logical id's 8 bits denotes one LAPIC. */
    public static final int DFR_FLAT = 0xffff_ffff;

    /** DFR of the cluster model, in which a logical id is a 4-bit cluster number and one bit for each of 4 LAPICs. */
    public static final int DFR_CLUSTER = 0x0fff_ffff;

    /** SVR: 1 if software has enabled the LAPIC. */
    public static final BitField ENABLED = BitField.flag("enabled", 8, "", "disabled by software", "enabled");

    /** Local vector table: the delivery mode of the entry's interrupt. */
    public static final BitField LVT_MODE = new BitField("delivery_mode", 8, 3, DeliveryMode.description());

    /** Local vector table: 1 if the interrupt source is masked. */
    public static final BitField LVT_MASKED = BitField.flag("masked", 16, "M", "not masked", "masked");

    /** The number of registers that {@code KVM_GET_LAPIC} returns, starting with the first. */
    private static final int REGISTERS = 64;

    /** Registers with named fields, by offset, except ISR, TMR, IRR and the local vector table. */
    private static final Map<Integer, List<BitField>> NAMED = Map.ofEntries(
            register(ID_AT, new BitField("id", 0, 32, always("ID", "xAPIC id in 31:24, or x2APIC id"))),
            register(
                    VERSION_AT,
                    new BitField("version", 0, 8, always("Version", "")),
                    new BitField("max_lvt", 16, 8, always("Max LVT Entry", "number of entries minus 1")),
                    DIRECTED_EOI),
            register(TPR_AT, new BitField("task_priority", 0, 8, always("TPR", ""))),
            register(PPR_AT, new BitField("processor_priority", 0, 8, always("PPR", ""))),
            register(
                    LDR_AT, new BitField("logical_id", 0, 32, always("LDR", "xAPIC in 31:24, or cluster and members"))),
            register(
                    DFR_AT,
                    new BitField(
                            "model",
                            28,
                            4,
                            Description.saying("DFR", (value, bits) -> value == 0 ? "cluster" : "flat"))),
            register(
                    SVR_AT,
                    new BitField("spiv_vector", 0, 8, always("SVR", "spurious vector")),
                    named("spiv_enabled", ENABLED),
                    BitField.flag("spiv_focus_disabled", 9, "", "", "no focus checking"),
                    BitField.flag("directed_eoi_used", 12, "", "EOIs are broadcast", "EOI broadcasts are suppressed")),
            register(ESR_AT, new BitField("esr", 0, 32, always("ESR", "errors"))),
            register(ICR_AT, new BitField("icr", 0, 32, always("ICR", "interrupt command, low"))),
            register(0x310, new BitField("icr2", 0, 32, always("ICR", "destination, or its xAPIC id in 31:24"))),
            register(INITIAL_COUNT_AT, new BitField("tmict", 0, 32, always("", "initial count of the timer"))),
            register(CURRENT_COUNT_AT, new BitField("tmcct", 0, 32, always("", "current count of the timer"))),
            register(DIVIDER_AT, new BitField("tdcr", 0, 4, always("", "divide configuration of the timer"))));

    private static final List<String> LVT_NAMES = List.of("timer", "thermal", "perf", "lint0", "lint1", "error");

    /** The {@code kvmirq decode} format {@code lapic.page}, the low 32 bits of each {@code KVM_GET_LAPIC} register. */
    public static final Format FORMAT = format();

    private static Map.Entry<Integer, List<BitField>> register(int offset, BitField... fields) {
        return Map.entry(offset, List.of(fields));
    }

    private static BitField named(String name, BitField field) {
        return new BitField(name, field.low(), field.width(), field.description());
    }

    private static Format format() {
        FormatBuilder format = Format.builder("lapic.page", "registers of a local APIC", 32, REGISTERS)
                .wordNames(IntStream.range(0, REGISTERS)
                        .mapToObj(register -> "0x" + Integer.toHexString(register * STRIDE))
                        .toArray(String[]::new));
        for (int offset = 0; offset < REGISTERS * STRIDE; offset += STRIDE) {
            int at = offset / STRIDE * Integer.SIZE;
            int next = 0;
            for (BitField field : fields(offset)) {
                if (field.low() > next) {
                    format.fields(reserved(offset, at, next, field.low()));
                }
                format.fields(
                        new BitField(field.name(), at + field.low(), field.width(), field.description()).ordinarily(0));
                next = field.high() + 1;
            }
            if (next < Integer.SIZE) {
                format.fields(reserved(offset, at, next, Integer.SIZE));
            }
        }
        return format.build();
    }

    private static BitField reserved(int offset, int at, int low, int end) {
        String name = "rsvd_0x" + Integer.toHexString(offset) + (low == 0 ? "" : "_" + low);
        int width = end - low;
        // The DFR bits outside its field are 1.
        return offset == DFR_AT
                ? new BitField("dfr_low", at + low, width, always("R", "ones")).ordinarily(0)
                : BitField.reserved(name, at + low, width).ordinarily(0);
    }

    private static List<BitField> fields(int offset) {
        for (int first : new int[] {ISR_AT, TMR_AT, IRR_AT}) {
            int number = (offset - first) / STRIDE;
            if (offset >= first && number < Byte.SIZE) {
                return List.of(vectors(first == ISR_AT ? "isr" : first == TMR_AT ? "tmr" : "irr", number));
            }
        }
        if (offset == LVT_CMCI_AT) {
            return local("lvt_cmci_");
        }
        int entry = (offset - LVT_AT) / STRIDE;
        return offset >= LVT_AT && entry < LVT_COUNT
                ? local("lvt_" + LVT_NAMES.get(entry) + "_")
                : NAMED.getOrDefault(offset, List.of());
    }

    private static BitField vectors(String name, int number) {
        return new BitField(
                name + number,
                0,
                Integer.SIZE,
                Description.saying(
                        name.toUpperCase(Locale.ROOT),
                        (value, bits) -> value == 0 ? "" : "vectors " + Meaning.numbers(value, Integer.SIZE * number)));
    }

    private static List<BitField> local(String name) {
        return List.of(
                new BitField(name + "vector", 0, 8, always("V", "vector")),
                named(name + "delivery_mode", LVT_MODE),
                BitField.flag(name + "pending", 12, "DS", "idle", "send pending"),
                BitField.flag(name + "active_low", 13, "INTPOL", "active high", "active low"),
                BitField.flag(name + "irr", 14, "RIRR", "no EOI awaited", "EOI awaited"),
                BitField.flag(name + "level", 15, "TM", "edge", "level"),
                named(name + "masked", LVT_MASKED),
                new BitField(
                        name + "timer_mode", 17, 2, Description.oneOf("", "one-shot", "periodic", "TSC deadline")));
    }

    private LapicPage() {}
}
