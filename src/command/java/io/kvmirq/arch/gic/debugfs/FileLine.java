/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.debugfs;

import io.kvmirq.text.Foreign;

/** A line of a debugfs file, numbered from 1, for error sentences. */
record FileLine(String file, int line, String text) {
    private static final int SHOWN_CHARACTERS = 60;

    IllegalArgumentException unexpected(String expected) {
        return new IllegalArgumentException("line " + line + " of " + file + " is '"
                + Foreign.printable(text, SHOWN_CHARACTERS) + "': expected " + expected);
    }

    int number(String digits, int radix) {
        try {
            return Integer.parseInt(digits, radix);
        } catch (NumberFormatException e) {
            throw unexpected("a 32-bit number, not " + digits);
        }
    }

    /** An unsigned 32-bit number. */
    long unsigned(String digits, int radix) {
        try {
            return Integer.toUnsignedLong(Integer.parseUnsignedInt(digits, radix));
        } catch (NumberFormatException e) {
            throw unexpected("a 32-bit number, not " + digits);
        }
    }
}
