/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.arch.apic.Vendor;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Linux bugs that affect posted interrupts, each with the affected releases and the commit that fixes it. A vendor
 * kernel can have the fix under an old release number.
 *
 * <p>Source: the "affected" ranges of the kernel's CVE records; for {@code AVIC_IDS} and {@code GATAG}, the ChangeLogs
 * of 6.18.10, 6.1.21 and 6.2.8.
 */
public enum KernelBug {
    AVIC_IDS(Where.AMD, "cfbe371194d1", "AVIC treats each vCPU id above 0 as too large without x2AVIC", "6.18 6.18.10"),
    DEASSIGN(
            Where.ALL,
            "b4d37cdb77a0, CVE-2026-23198",
            "when a VMM removes the irqfd of a posted vector, as it does to mask it, the vector stays posted to the vCPU",
            "4.4 5.10.250, 5.11 5.15.200, 5.16 6.1.163, 6.2 6.6.124, 6.7 6.12.70, 6.13 6.18.10"),
    ROUTE(
            Where.X86,
            "9bcac97dc42d, CVE-2025-37885",
            "when a guest gives a posted vector a message that cannot be posted, it stays posted to the previous vCPU",
            "4.4 5.10.237, 5.11 5.15.181, 5.16 6.1.136, 6.2 6.6.89, 6.7 6.12.26, 6.13 6.14.5"),
    GATAG(
            Where.AMD,
            "5999715922c5",
            "a GATag has 8 bits of a vCPU's id: vCPUs from 256 on are not woken",
            "6.0 6.1.21, 6.2 6.2.8");

    private static final Pattern RELEASE = Pattern.compile("(\\d{1,4})\\.(\\d{1,4})(?:\\.(\\d{1,4}))?(.*)");
    private static final int RADIX = 10_000;

    private enum Where {
        ALL,
        X86,
        AMD
    }

    private final Where where;
    private final String fix;
    private final String text;
    private final String ranges;

    KernelBug(Where where, String fix, String text, String ranges) {
        this.where = where;
        this.fix = fix;
        this.text = text;
        this.ranges = ranges;
    }

    /** Whether this release has the bug. False for a release with a vendor suffix. */
    public boolean isIn(String release) {
        Matcher parts = parts(release);
        return parts.matches() && parts.group(4).isEmpty() && range(parts).isPresent();
    }

    /**
     * A sentence for each bug that a release may have: affected releases, effect, and the kernel to boot instead.
     *
     * @param vendor the x86 processor's vendor, empty for arm64
     */
    public static List<String> affecting(String release, Optional<Vendor> vendor) {
        Matcher parts = parts(release);
        return parts.matches()
                ? Arrays.stream(values())
                        .filter(bug -> bug.where == Where.ALL
                                || vendor.isPresent() && (bug.where == Where.X86 || vendor.get() == Vendor.AMD))
                        .flatMap(bug -> bug.range(parts).stream().map(range -> bug.sentence(range, parts.group(4))))
                        .toList()
                : List.of();
    }

    static Matcher parts(String release) {
        Objects.requireNonNull(release, "release is null");
        return RELEASE.matcher(release);
    }

    private Optional<String[]> range(Matcher release) {
        long number = number(release);
        return Arrays.stream(ranges.split(", "))
                .map(range -> range.split(" "))
                .filter(range -> number(range[0]) <= number && number < number(range[1]))
                .findFirst();
    }

    static long number(String version) {
        Matcher parts = parts(version);
        return parts.matches() ? number(parts) : 0;
    }

    static long number(Matcher parts) {
        String last = parts.group(3);
        return (Long.parseLong(parts.group(1)) * RADIX + Long.parseLong(parts.group(2))) * RADIX
                + (last == null ? 0 : Long.parseLong(last));
    }

    private String sentence(String[] range, String suffix) {
        return "Linux from " + range[0] + " on and before " + range[1] + " has a known bug (" + fix + "): " + text
                + (suffix.isEmpty()
                        ? "; boot " + range[1] + " or newer"
                        : "; the changelog of this vendor kernel shows whether it has the fix");
    }
}
