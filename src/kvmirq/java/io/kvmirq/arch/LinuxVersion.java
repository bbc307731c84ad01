/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;
import java.util.Optional;

/** A Linux version. Stable kernels, such as 6.1.136, can contain backports from later versions. */
public record LinuxVersion(int major, int minor) {
    /** The newest Linux version whose source kvmirq's kernel rules are based on. */
    public static final LinuxVersion NEWEST = new LinuxVersion(7, 1);

    private static final int RADIX = 10;
    private static final int MOST_DIGITS = 4;

    /** Parses a kernel release such as {@code 6.1.0-56-amd64}. Empty if the text does not begin with a version. */
    public static Optional<LinuxVersion> parse(String release) {
        Objects.requireNonNull(release, "release is null");
        // A regular expression would load classes for longer than the rest of some commands takes.
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

    /** The end of at most four digits that start at {@code from}. */
    private static int digits(String text, int from) {
        int at = from;
        while (at < text.length() && at < from + MOST_DIGITS && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        return at;
    }

    /** Whether this is the given version or a newer one. */
    public boolean isSince(int otherMajor, int otherMinor) {
        return major > otherMajor || major == otherMajor && minor >= otherMinor;
    }

    @Override
    public String toString() {
        return major + "." + minor;
    }
}
