/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** The general registers of a vCPU. A guest in real mode uses the low halves of the first eight. */
final class GeneralRegisters {
    /** The numbers in instructions of the registers of {@code struct kvm_regs}, in its order. */
    private static final int[] ORDER = {0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

    private static final int RDX = 2;
    /** The signature of a processor whose CPUID has not been set. */
    static final int SIGNATURE = 0x600;

    private static final long LOW_HALF = 0xffff_ffffL;

    private final long[] values = new long[ORDER.length];

    GeneralRegisters() {
        reset(SIGNATURE);
    }

    /** @param signature EAX of the leaf 1 of the CPUID */
    void reset(int signature) {
        Arrays.fill(values, 0);
        values[RDX] = Integer.toUnsignedLong(signature);
    }

    int get(int register) {
        return (int) values[register];
    }

    void set(int register, int value) {
        values[register] = values[register] & ~LOW_HALF | value & LOW_HALF;
    }

    /** Sets the low 16 bits. */
    void setLow(int register, int value) {
        set(register, get(register) & 0xffff0000 | value & 0xffff);
    }

    void load(ByteBuffer from) {
        for (int i = 0; i < ORDER.length; i++) {
            values[ORDER[i]] = from.getLong(i * Long.BYTES);
        }
    }

    void save(ByteBuffer to) {
        for (int i = 0; i < ORDER.length; i++) {
            to.putLong(i * Long.BYTES, values[ORDER[i]]);
        }
    }
}
