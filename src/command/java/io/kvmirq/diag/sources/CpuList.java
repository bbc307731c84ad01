/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Lists of CPUs, as the kernel prints them: {@code bitmap_print_to_pagebuf()} in lib/bitmap-str.c. */
public final class CpuList {
    private static final int MOST_CPUS = 1 << 16;
    private static final Pattern RANGE = Pattern.compile("(\\d{1,5})(?:-(\\d{1,5}))?");

    private CpuList() {}

    /** Parses a list such as {@code 0-3,8}. Empty if it names no CPU, or has another form. */
    public static Optional<BitSet> parse(String list) {
        BitSet cpus = new BitSet();
        for (String part : list.strip().split(",")) {
            Matcher range = RANGE.matcher(part.strip());
            if (!range.matches()) {
                return Optional.empty();
            }
            int first = Integer.parseInt(range.group(1));
            int last = range.group(2) == null ? first : Integer.parseInt(range.group(2));
            cpus.set(Math.min(first, MOST_CPUS), Math.min(Math.max(first, last), MOST_CPUS) + 1);
        }
        return Optional.of(cpus);
    }

    /** The list in the form that {@link #parse} reads. */
    public static String list(BitSet cpus) {
        List<String> parts = new ArrayList<>();
        for (int first = cpus.nextSetBit(0); first >= 0; ) {
            int end = cpus.nextClearBit(first);
            parts.add(end - first == 1 ? "" + first : first + "-" + (end - 1));
            first = cpus.nextSetBit(end);
        }
        return String.join(",", parts);
    }

    /** The first eight. */
    public static String name(BitSet cpus) {
        return cpus.stream().limit(8).mapToObj(String::valueOf).collect(Collectors.joining(","))
                + (cpus.cardinality() > 8 ? ",..." : "");
    }

    /** Whether a set that is not empty is a part of another. */
    public static boolean contains(BitSet all, BitSet cpus) {
        BitSet rest = (BitSet) cpus.clone();
        rest.andNot(all);
        return rest.isEmpty() && !cpus.isEmpty();
    }
}
