/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A version of Linux. A stable kernel may have what only a later version brought. */
public record LinuxVersion(int major, int minor) {
    /** The latest version whose source was read. */
    public static final LinuxVersion NEWEST = new LinuxVersion(7, 1);

    private static final Pattern RELEASE = Pattern.compile("(\\d{1,4})\\.(\\d{1,4}).*", Pattern.DOTALL);

    /** The version of a release such as {@code 6.1.0-56-amd64}. Empty if the text is none. */
    public static Optional<LinuxVersion> of(String release) {
        Matcher matcher = RELEASE.matcher(release);
        return matcher.matches()
                ? Optional.of(new LinuxVersion(Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2))))
                : Optional.empty();
    }

    /** Whether the version is another one or newer. */
    public boolean isSince(int otherMajor, int otherMinor) {
        return major > otherMajor || major == otherMajor && minor >= otherMinor;
    }

    @Override
    public String toString() {
        return major + "." + minor;
    }
}
