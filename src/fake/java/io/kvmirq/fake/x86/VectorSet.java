/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.LapicPage;
import java.nio.ByteBuffer;

/** One of a LAPIC's 256-bit registers (IRR, ISR, TMR): 32 bits in every 16 bytes. */
record VectorSet(ByteBuffer registers, int first) {
    private static final int VECTORS = 256;

    private int word(int vector) {
        return first + vector / Integer.SIZE * LapicPage.STRIDE;
    }

    boolean has(int vector) {
        return (registers.getInt(word(vector)) >>> vector % 32 & 1) == 1;
    }

    void set(int vector, boolean on) {
        int at = word(vector);
        int bit = 1 << vector % 32;
        registers.putInt(at, on ? registers.getInt(at) | bit : registers.getInt(at) & ~bit);
    }

    /** @return -1 for none */
    int highest() {
        for (int vector = VECTORS - 32; vector >= 0; vector -= 32) {
            int bits = registers.getInt(word(vector));
            if (bits != 0) {
                return vector + 31 - Integer.numberOfLeadingZeros(bits);
            }
        }
        return -1;
    }

    /** @param words 32 bits each */
    void copyTo(int[] words) {
        for (int i = 0; i < words.length; i++) {
            words[i] = registers.getInt(word(i * Integer.SIZE));
        }
    }

    int count() {
        int count = 0;
        for (int vector = 0; vector < VECTORS; vector += 32) {
            count += Integer.bitCount(registers.getInt(word(vector)));
        }
        return count;
    }
}
