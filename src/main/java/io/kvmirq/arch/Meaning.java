/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.ArrayList;
import java.util.List;

/** What a field's value says, for people. */
@FunctionalInterface
public interface Meaning {
    /**
     * @param value of the field, unsigned
     * @param bits the whole structure, as {@link Format#bits} has it
     * @return a few words, empty where the value says it all
     */
    String of(long value, long[] bits);

    /** The same words for every value. */
    static Meaning always(String text) {
        return (value, bits) -> text;
    }

    /** The words at index value; what is past them is reserved. */
    static Meaning oneOf(String... texts) {
        return (value, bits) -> Long.compareUnsigned(value, texts.length) < 0 ? texts[(int) value] : "reserved";
    }

    /** A PCI requester id of 16 bits as bus:device.function. */
    static String requester(long id) {
        return String.format("%02x:%02x.%x", id >>> 8 & 0xff, id >>> 3 & 0x1f, id & 7);
    }

    /** The numbers of the bits set in {@code word}, counted from {@code first}, in hex and with runs joined. */
    static String numbers(long word, int first) {
        List<String> runs = new ArrayList<>();
        for (int bit = 0; bit < Long.SIZE; bit++) {
            if ((word >>> bit & 1) == 0) {
                continue;
            }
            int low = bit;
            while (bit + 1 < Long.SIZE && (word >>> (bit + 1) & 1) != 0) {
                bit++;
            }
            String run = "0x" + Integer.toHexString(first + low);
            runs.add(low == bit ? run : run + "–0x" + Integer.toHexString(first + bit));
        }
        return String.join(", ", runs);
    }
}
