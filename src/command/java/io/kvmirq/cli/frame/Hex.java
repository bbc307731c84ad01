/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.text.Foreign;
import java.util.HexFormat;

/** Parses and prints unsigned hex numbers. */
public final class Hex {
    private static final int BITS_OF_A_DIGIT = 4;

    private Hex() {}

    /**
     * Reads hex digits with or without 0x. Digits are ASCII: no sign, blank or underscore.
     *
     * @param what the name of the number in the message, such as {@code word 2 of pid}
     * @param bits the largest width; leading zeros count as digits
     * @throws IllegalArgumentException if {@code text} is not such a number
     */
    public static long parse(String text, String what, int bits) {
        int start = text.startsWith("0x") || text.startsWith("0X") ? 2 : 0;
        int digits = text.length() - start;
        boolean good = digits > 0 && digits <= bits / BITS_OF_A_DIGIT;
        for (int i = start; good && i < text.length(); i++) {
            good = HexFormat.isHexDigit(text.charAt(i));
        }
        if (!good) {
            throw new IllegalArgumentException(what + " is " + Foreign.quoted(text) + ": expected 1 to "
                    + bits / BITS_OF_A_DIGIT + " hex digits, with or without 0x");
        }
        return Long.parseUnsignedLong(text, start, text.length(), 16);
    }

    /** 0x and the digits, without leading zeros. */
    public static String of(long value) {
        return "0x" + Long.toHexString(value);
    }

    /** 0x and the digits, with leading zeros for a number of {@code bits}. */
    public static String padded(long value, int bits) {
        return "0x" + HexFormat.of().toHexDigits(value, bits / BITS_OF_A_DIGIT);
    }
}
