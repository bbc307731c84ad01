/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.MessageRules;
import java.util.List;

/**
 * A message of remappable format: it names an entry of the remapping table instead of a CPU and a vector. Two words of
 * 32 bits: address, data.
 *
 * <p>Source: VT-d specification, Interrupt Requests in Remappable Format; {@code struct x86_msi_addr_lo} in
 * arch/x86/include/asm/msi.h; {@code fill_msi_msg} in drivers/iommu/intel/irq_remapping.c.
 *
 * @param base 12 bits, 0xfee for an interrupt
 * @param handle 16 bits; bit 15 is apart from the others
 * @param subhandleValid SHV: whether the subhandle is added to the handle
 * @param remappable whether the address says that it is of this format
 * @param reserved0 2 bits, address 1:0
 * @param subhandle 16 bits, data 15:0
 * @param reserved48 16 bits, data 31:16
 */
public record RemappableMsi(
        int base,
        int handle,
        boolean subhandleValid,
        boolean remappable,
        int reserved0,
        int subhandle,
        int reserved48) {
    private static final BitField RESERVED_0 = new BitField("rsvd_0_1", 0, 2);
    private static final BitField HANDLE_15 = BitField.bit("index_15", 2);
    private static final BitField SHV = BitField.bit("shv", 3);
    private static final BitField REMAPPABLE = BitField.bit("format", 4);
    private static final BitField HANDLE = new BitField("index", 5, 15);
    private static final BitField BASE_ADDRESS = new BitField("base", 20, 12);
    private static final BitField SUBHANDLE = new BitField("subhandle", 32, 16);
    private static final BitField RESERVED_48 = new BitField("rsvd_48_63", 48, 16);
    private static final int HANDLE_MAX = 0xffff;

    /** Kind {@code msi.vtd.remappable}. */
    public static final Format FORMAT = Format.builder("msi.vtd.remappable", "VT-d MSI of remappable format", 32, 2)
            .wordNames("address", "data")
            .fields(
                    Field.of("HANDLE", Meaning.always("handle 15, 14:0"), HANDLE, HANDLE_15),
                    Field.of("SUBHANDLE", Meaning.always("added to the handle if SHV is 1"), SUBHANDLE),
                    Field.of("SHV", Meaning.oneOf("entry = handle", "entry = handle + subhandle"), SHV),
                    Field.of("IF", Meaning.oneOf("compatibility format", "remappable format"), REMAPPABLE),
                    Field.of("BASE", Meaning.always("interrupt window"), BASE_ADDRESS),
                    Field.of("R", Meaning.always("ignored"), RESERVED_0).ordinarily(0),
                    Field.reserved(RESERVED_48).ordinarily(0))
            .reservedFault("fault reason 0x20")
            .rules(MessageRules.base(BASE_ADDRESS), MessageRules.format(REMAPPABLE, 1))
            .build();

    /** @throws IllegalArgumentException if a field does not fit */
    public RemappableMsi {
        BASE_ADDRESS.with(base);
        if (handle < 0 || handle > HANDLE_MAX) {
            throw new IllegalArgumentException(
                    "handle 0x" + Integer.toHexString(handle) + " does not fit: expected 0–0xffff, 16 bits");
        }
        RESERVED_0.with(reserved0);
        SUBHANDLE.with(subhandle);
        RESERVED_48.with(reserved48);
    }

    /** As Linux has a device write it for message {@code subhandle} of a block that begins at entry {@code handle}. */
    public static RemappableMsi to(int handle, int subhandle) {
        return new RemappableMsi(CompatibilityMsi.BASE, handle, true, true, 0, subhandle, 0);
    }

    /**
     * Any bits are taken.
     *
     * @param address 32 bits
     * @param data 32 bits
     */
    public static RemappableMsi decode(int address, int data) {
        long bits = (long) data << 32 | Integer.toUnsignedLong(address);
        return new RemappableMsi(
                (int) BASE_ADDRESS.of(bits),
                (int) (HANDLE_15.of(bits) << HANDLE.width() | HANDLE.of(bits)),
                SHV.isSet(bits),
                REMAPPABLE.isSet(bits),
                (int) RESERVED_0.of(bits),
                (int) SUBHANDLE.of(bits),
                (int) RESERVED_48.of(bits));
    }

    /** Number of the table entry that the message names, 0–131070: above 65535 no table has one. */
    public int index() {
        return subhandleValid ? handle + subhandle : handle;
    }

    /** 32 bits. */
    public int address() {
        return (int) bits();
    }

    /** 32 bits. */
    public int data() {
        return (int) (bits() >>> Integer.SIZE);
    }

    private long bits() {
        return BASE_ADDRESS.with(base)
                | HANDLE.with(handle & HANDLE.max())
                | HANDLE_15.with(handle >>> HANDLE.width())
                | SHV.with(subhandleValid ? 1 : 0)
                | REMAPPABLE.with(remappable ? 1 : 0)
                | RESERVED_0.with(reserved0)
                | SUBHANDLE.with(subhandle)
                | RESERVED_48.with(reserved48);
    }

    /** What the manual forbids and is so. */
    public List<Violation> violations() {
        return FORMAT.violations(bits());
    }
}
