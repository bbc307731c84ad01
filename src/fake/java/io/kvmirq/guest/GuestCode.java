/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.guest;

import io.kvmirq.InterruptVector;
import io.kvmirq.kernel.Mapping;
import java.util.HexFormat;

/** The x86 guest's code, assembled by {@code scripts/guest} from {@code src/fake/guest/guest.S}. A test checks it. */
public final class GuestCode {
    /** The machine code in hexadecimal, loaded at {@link #START}. */
    public static final String HEX = "66b91b0000000f32660d000c00000f30" // x2APIC on
            + "66b90f08000066b8ff0100006631d20f30e682" // LAPIC enabled, ready
            + "fbf4ebfd" // sti; idle: hlt; jmp idle
            + "66608ccb89dec1e60266ff840020" // handler: count
            + "66b90b0800006631c06631d20f30" // EOI
            + "89d8e6806661cf" // answer, return
            + "e681ebfc"; // stop

    public static final int MEMORY = 0x10000;
    public static final int START = 0x1000;
    public static final int STACK = 0x8000;
    public static final int PORT_ANSWER = 0x80;
    public static final int PORT_STOPPED = 0x81;
    public static final int PORT_READY = 0x82;

    private static final int HANDLER = START + 0x27;
    private static final int STOP = START + 0x4a;
    private static final int COUNTS = 0x2000;
    private static final int NMI = 2;

    private GuestCode() {}

    public static void load(Mapping memory) {
        memory.put(START, HexFormat.of().parseHex(HEX));
        memory.putInt(NMI * Integer.BYTES, STOP);
    }

    /** Sets the vector's interrupt vector table entry to the guest's handler; its CS tells it the vector. */
    public static void handle(Mapping memory, InterruptVector vector) {
        int number = vector.number();
        memory.putInt((long) number * Integer.BYTES, number << 16 | (HANDLER - number * 16));
    }

    /** Returns how often a vCPU handled a vector. The guest's data starts at {@code segment} * {@link #MEMORY}. */
    public static int handled(Mapping memory, int segment, InterruptVector vector) {
        return memory.getInt(COUNTS + (long) segment * MEMORY + (long) vector.number() * Integer.BYTES);
    }

    public static int handled(Mapping memory, InterruptVector vector) {
        return handled(memory, 0, vector);
    }
}
