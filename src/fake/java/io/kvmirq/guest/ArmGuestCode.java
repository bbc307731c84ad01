/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.guest;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.kernel.Mapping;
import java.util.HexFormat;

/** The arm64 guest's code, assembled by {@code scripts/guest} from {@code src/fake/guest/arm64.S}. A test checks it. */
public final class ArmGuestCode {
    private static final String FAULT = "035238d5e30a00b9feffff17";
    private static final String IRQ =
            "940000b502cc38d5435c001203000014820e40b9432400129f3f03d564f00f519f100071c3020054e403032a7f084071"
                    + "630000548404405184003051c40a048b850040b9a5040011850000b9b40000b522cc18d5f50000b422cb18d505000014"
                    + "821200b9750000b485064091a20000b9df3f03d59f3f03d5e30200b9e0039fd6";
    private static final String SET_UP =
            "f40300aaf50301aa1600a8d216c018d5c2124091022018d5d60640911740a1d2e29f80d202a218d502a486d20210a0f2"
                    + "422018d5df3f03d5021038d5a30082d2420003aa021018d5df3f03d5940100b5a2cc38d5420040b2a2cc18d5df3f03d5"
                    + "e21f80d2024618d5a2fa7fd382cc18d5220080d2e2cc18d507000014e21f8052820600b9a25a175342000032820200b9"
                    + "9f3f03d5df3f03d5ff0600b9ff4203d57f2003d5ffffff17";

    /** The machine code in hexadecimal. It is loaded at {@link #MEMORY} + {@link #VECTORS}. */
    public static final String HEX = FAULT + "0".repeat(0x100 - FAULT.length()) + IRQ + SET_UP;

    /** The guest-physical address of the guest's memory. */
    public static final long MEMORY = 0x4000_0000;
    /** The size of the guest's memory in bytes. */
    public static final int SIZE = 0x1_0000;
    /** The guest-physical address of the first instruction. */
    public static final long START = MEMORY + 0x300;
    /** The address to which the guest writes the INTID, in 4 bytes, after it has ended an interrupt. */
    public static final long ANSWER = 0xa00_0000;
    /** The address to which the guest writes 4 bytes once, when it is ready for interrupts. */
    public static final long READY = ANSWER + 4;
    /** The address to which the guest writes ESR_EL1, 4 bytes, if it gets an exception. */
    public static final long FAULTED = ANSWER + 8;

    /** The offset of the first exception vector in use, of exceptions in EL1. */
    private static final int VECTORS = 0x200;

    private static final int COUNTS = 0x1000;
    private static final int TABLE = 0x4000;
    /** Level 1 block descriptors of 1 GiB, with the access flag. */
    private static final long DEVICES = 1L << 54 | 1L << 53 | 1 << 10 | 1 << 2 | 1;

    private static final long CACHED = 1 << 10 | 3 << 8 | 1;

    private ArmGuestCode() {}

    /** Writes code and translation table to {@code memory}, which is mapped at {@link #MEMORY}. */
    public static void load(Mapping memory) {
        memory.put(VECTORS, HexFormat.of().parseHex(HEX));
        putLong(memory, TABLE, DEVICES);
        putLong(memory, TABLE + Long.BYTES, MEMORY | CACHED);
    }

    private static void putLong(Mapping memory, int at, long value) {
        memory.putInt(at, (int) value);
        memory.putInt(at + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    /** Returns how often the guest has ended an interrupt: an SPI, PPI or SGI below 1024, or an LPI. */
    public static int handled(Mapping memory, int interrupt) {
        int slot = interrupt < InterruptId.FIRST_LPI ? interrupt : interrupt - InterruptId.FIRST_LPI + 1024;
        return memory.getInt(COUNTS + (long) slot * Integer.BYTES);
    }
}
