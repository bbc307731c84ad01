/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.SplitField;
import io.kvmirq.arch.Structure;
import io.kvmirq.arch.apic.CompatibilityMsi;
import java.util.Optional;

/**
 * An MSI in remappable format, which refers to a remapping table entry instead of a CPU and a vector. Its two 32-bit
 * words are the address and the data.
 *
 * <p>Source: VT-d specification, Interrupt Requests in Remappable Format; {@code struct x86_msi_addr_lo} in
 * arch/x86/include/asm/msi.h; {@code fill_msi_msg} in drivers/iommu/intel/irq_remapping.c.
 *
 * @param address the low word of the address, 32 bits
 * @param data the data that the device writes, 32 bits
 */
public record RemappableMsi(int address, int data) implements Structure {
    /** SHV, address bit 3: 1 if the subhandle is added to the handle. */
    public static final BitField SHV = BitField.flag("shv", 3, "SHV", "entry = handle", "entry = handle + subhandle");

    /** 1 if the message is in remappable format. */
    public static final BitField REMAPPABLE = CompatibilityMsi.format(1, "it is of compatibility format");

    /** The handle, with bits 14:0 in address bits 19:5, and bit 15 in address bit 2. */
    public static final SplitField HANDLE = new SplitField(
            "index", new BitField("index", 5, 15), new BitField("index_15", 2, 1), always("HANDLE", "handle 15, 14:0"));

    /** The subhandle, data bits 15:0. */
    public static final BitField SUBHANDLE =
            new BitField("subhandle", 32, 16, always("SUBHANDLE", "added to the handle if SHV is 1"));

    /** Data bits 31:16, reserved if SHV is 1. If SHV is 0, the remapping unit ignores the data. */
    public static final BitField RESERVED_48 = new BitField(
            "rsvd_48_63",
            48,
            16,
            saying("R", (value, bits) -> SHV.isSet(bits[0]) ? "reserved" : "ignored")
                    .checked((value, bits) -> value != 0 && SHV.isSet(bits[0])
                            ? Optional.of("reserved bits data 31:16 are 0x" + Long.toHexString(value)
                                    + " and not 0 (fault reason 0x20)")
                            : Optional.empty())
                    .ordinarily(0));

    /** The {@code kvmirq decode} format {@code msi.vtd.remappable}. */
    public static final Format FORMAT = Format.builder("msi.vtd.remappable", "VT-d MSI of remappable format", 32, 2)
            .wordNames("address", "data")
            .fields(HANDLE, SUBHANDLE, SHV, REMAPPABLE, CompatibilityMsi.BASE_ADDRESS.required())
            .fields(CompatibilityMsi.IGNORED_0, RESERVED_48)
            .build();

    /**
     * The message that Linux writes for the remapping entry at the index {@code handle} + {@code subhandle}. Throws
     * IllegalArgumentException if a number has more than 16 bits.
     */
    public static RemappableMsi to(int handle, int subhandle) {
        long[] bits = {CompatibilityMsi.BASE_ADDRESS.with(CompatibilityMsi.BASE) | SHV.with(1) | REMAPPABLE.with(1)};
        HANDLE.put(bits, handle);
        SUBHANDLE.put(bits, subhandle);
        return new RemappableMsi((int) bits[0], (int) (bits[0] >>> Integer.SIZE));
    }

    @Override
    public Format format() {
        return FORMAT;
    }

    @Override
    public long[] bits() {
        return new long[] {word()};
    }

    @Override
    public boolean is(BitField field) {
        return field.isSet(word());
    }

    private long word() {
        return (long) data << Integer.SIZE | Integer.toUnsignedLong(address);
    }

    /** The index of the message's table entry, 0–131070. No table has an entry above 65535. */
    public int index() {
        long word = word();
        int handle = (int) HANDLE.of(word, word);
        return SHV.isSet(word) ? handle + (int) SUBHANDLE.of(word) : handle;
    }

    @Override
    public String toString() {
        return FORMAT.text(FORMAT.words(bits()));
    }
}
