/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/** Bits 191:128 of a device table entry, which control interrupt remapping. Source: {@code set_dte_irq_entry}. */
public final class DeviceTableEntry {
    private static final int LONGEST_TABLE = 11;

    /** IV: 1 if the other interrupt fields are valid, 0 if the device's interrupts are not remapped. */
    public static final BitField INTERRUPTS_VALID =
            BitField.flag("iv", 0, "IV", "interrupts pass unmapped", "what follows is valid");

    /** The size of the device's remapping table: n means 2^n entries. */
    public static final BitField TABLE_LENGTH = new BitField(
            "inttablen",
            1,
            4,
            saying("IntTabLen", (value, bits) -> (1L << value) + " entries")
                    .forbidding(
                            value -> value > LONGEST_TABLE,
                            value -> "table length " + value + " is reserved: expected 0-11"));

    /** IG: 1 if the IOMMU does not log this device's interrupt faults. */
    public static final BitField IGNORE_FAULTS = BitField.flag("ig", 5, "IG", "faults recorded", "faults not recorded")
            .ordinarily(0);

    /** The address of the device's remapping table. */
    public static final BitField TABLE = new BitField(
            "table_phys", 6, 46, always("IntTabRoot", "table address").shifted(6));

    /** Whether fixed and arbitrated interrupts are blocked, forwarded or remapped. */
    public static final BitField CONTROL = new BitField(
            "intctl",
            60,
            2,
            oneOf("IntCtl", "block", "forward unmapped", "remap")
                    .forbidding(value -> value == 3, value -> "IntCtl 3 is reserved: expected 0-2"));

    /** The {@code kvmirq decode} format {@code amd.dte.data2}. */
    public static final Format FORMAT = Format.builder("amd.dte.data2", "AMD DTE, bits 191:128", 64, 1)
            .fields(INTERRUPTS_VALID, TABLE_LENGTH, TABLE, CONTROL, IGNORE_FAULTS)
            .fields(BitField.reserved("rsvd_52_55", 52, 4).ordinarily(0))
            .fields(passed("InitPass", "init_pass", 56))
            .fields(passed("EIntPass", "eint_pass", 57))
            .fields(passed("NMIPass", "nmi_pass", 58))
            .fields(new BitField("bit_59", 59, 1).ordinarily(0))
            .fields(passed("Lint0Pass", "lint0_pass", 62))
            .fields(passed("Lint1Pass", "lint1_pass", 63))
            .looked(bits -> INTERRUPTS_VALID.isSet(bits[0]))
            .build();

    private DeviceTableEntry() {}

    private static BitField passed(String label, String name, int bit) {
        return BitField.flag(name, bit, label, "block", "pass unmapped").ordinarily(0);
    }
}
