/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** Finds known names that resemble an unknown name. */
public final class Names {
    private static final int MOST_NEAREST = 3;
    /** The number of characters of a name that are compared. Every known name is shorter. */
    private static final int LONGEST_NAME = 64;

    private Names() {}

    /** The three names of {@code known} that are most similar to {@code name}, ignoring case. */
    public static List<String> nearest(String name, Collection<String> known) {
        String looked = name.substring(0, Math.min(name.length(), LONGEST_NAME));
        return known.stream()
                .sorted(Comparator.comparingInt(word -> distance(looked, word)))
                .limit(MOST_NEAREST)
                .toList();
    }

    /** The edit distance (characters to insert, delete or replace), ignoring case. */
    private static int distance(String word, String other) {
        String from = word.toLowerCase(Locale.ROOT);
        String to = other.toLowerCase(Locale.ROOT);
        int[] above = new int[to.length() + 1];
        Arrays.setAll(above, i -> i);
        for (int i = 1; i <= from.length(); i++) {
            int[] row = new int[to.length() + 1];
            row[0] = i;
            for (int j = 1; j <= to.length(); j++) {
                int changed = above[j - 1] + (from.charAt(i - 1) == to.charAt(j - 1) ? 0 : 1);
                row[j] = Math.min(changed, Math.min(row[j - 1], above[j]) + 1);
            }
            above = row;
        }
        return above[to.length()];
    }

    public static String hex(long value) {
        return "0x" + Long.toHexString(value);
    }
}
