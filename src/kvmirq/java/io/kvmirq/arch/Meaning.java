/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.IntFunction;

/** The meaning of a field's value, in words. */
@FunctionalInterface
public interface Meaning {
    /** The meaning of one value in a few words. Empty if the value needs no explanation. */
    String of(long value, long[] bits);

    /** A meaning with the same text for every value. */
    static Meaning always(String text) {
        Objects.requireNonNull(text, "text is null");
        return (value, bits) -> text;
    }

    /** A meaning that is {@code texts[n]} for value n, and "reserved" for larger values. */
    static Meaning oneOf(String... texts) {
        Objects.requireNonNull(texts, "texts is null");
        return (value, bits) -> Long.compareUnsigned(value, texts.length) < 0 ? texts[(int) value] : "reserved";
    }

    /** Formats a 16-bit PCI requester id as bus:device.function. */
    static String requester(long id) {
        return String.format("%02x:%02x.%x", id >>> 8 & 0xff, id >>> 3 & 0x1f, id & 7);
    }

    /**
     * The numbers of the set bits in hex, counted from {@code first}. Contiguous bits form a range, {@code 0x20-0x23}.
     */
    static String numbers(long word, int first) {
        return runs(word, bit -> "0x" + Integer.toHexString(first + bit));
    }

    /** The numbers of the set bits in decimal. Contiguous bits form a range such as {@code 4-7}. */
    static String decimals(long word) {
        return runs(word, Integer::toString);
    }

    private static String runs(long word, IntFunction<String> name) {
        List<String> runs = new ArrayList<>();
        for (int bit = 0; bit < Long.SIZE; bit++) {
            if ((word >>> bit & 1) == 0) {
                continue;
            }
            int low = bit;
            while (bit + 1 < Long.SIZE && (word >>> (bit + 1) & 1) != 0) {
                bit++;
            }
            runs.add(low == bit ? name.apply(bit) : name.apply(low) + "-" + name.apply(bit));
        }
        return String.join(", ", runs);
    }
}
