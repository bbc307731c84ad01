/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.uapi.Uapi;
import java.util.Map;
import java.util.StringJoiner;
import java.util.regex.Pattern;

/** Numbers of the kernel as people read them. */
final class Names {
    /** Of eventfd and dup3. */
    static final Map<Integer, String> EVENTFD =
            Map.of(Uapi.EFD_SEMAPHORE, "SEMAPHORE", Uapi.O_NONBLOCK, "NONBLOCK", Uapi.O_CLOEXEC, "CLOEXEC");

    /** What a terminal could take for a command, or that hides other text. */
    private static final Pattern UNPRINTABLE = Pattern.compile("[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]");

    private Names() {}

    /** Text of a tape without control characters. A tape may come from an untrusted source. */
    static String printable(String text) {
        return UNPRINTABLE.matcher(text).replaceAll("?");
    }

    /** {@code " flags=A|B|0x80"}, or nothing for 0. */
    static String flags(long value, Map<Integer, String> known) {
        if (value == 0) {
            return "";
        }
        StringJoiner names = new StringJoiner("|", " flags=", "");
        long rest = value;
        for (int bit = 0; bit < Integer.SIZE; bit++) {
            String name = known.getOrDefault(1 << bit, "");
            if ((rest >>> bit & 1) != 0 && !name.isEmpty()) {
                names.add(name);
                rest &= ~(1L << bit);
            }
        }
        if (rest != 0) {
            names.add(hex(rest));
        }
        return names.toString();
    }

    static String hex(long value) {
        return "0x" + Long.toHexString(value);
    }
}
