/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;
import java.util.Optional;

/** A Linux version. A stable kernel (6.1.136) may contain changes of later versions, which the number hides. */
public record LinuxVersion(int major, int minor) {
    /** The newest Linux version in whose source kvmirq's rules about the kernel were read. */
    public static final LinuxVersion NEWEST = new LinuxVersion(7, 1);

    private static final int RADIX = 10;
    private static final int MOST_DIGITS = 4;

    /** Reads the version from a release such as {@code 6.1.0-56-amd64}. Empty if the text is not a version. */
    public static Optional<LinuxVersion> parse(String release) {
        Objects.requireNonNull(release, "release is null");
        // No regular expression: loading its classes takes longer than the rest of some commands.
        int dot = digits(release, 0);
        if (dot == 0 || dot == release.length() || release.charAt(dot) != '.') {
            return Optional.empty();
        }
        int end = digits(release, dot + 1);
        return end > dot + 1
                ? Optional.of(new LinuxVersion(
                        Integer.parseInt(release, 0, dot, RADIX), Integer.parseInt(release, dot + 1, end, RADIX)))
                : Optional.empty();
    }

    /** The end of the digits from {@code from} on, but at most four. */
    private static int digits(String text, int from) {
        int at = from;
        while (at < text.length() && at < from + MOST_DIGITS && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        return at;
    }

    /** Whether this version is the given version or newer. */
    public boolean isSince(int otherMajor, int otherMinor) {
        return major > otherMajor || major == otherMajor && minor >= otherMinor;
    }

    @Override
    public String toString() {
        return major + "." + minor;
    }
}
