/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Random numbers of a program of steps, which can be drawn again without some of the steps. What is drawn before the first
 * step and after the last one stays. A step that draws more than before gets 0, 1, 2 …, so that a draw until something fits ends.
 */
public final class Choices implements RandomGenerator {
    private static final int RADIX = 36;

    private final @Nullable SplittableRandom random;
    /** The numbers that each part drew before, if these are drawn again. */
    private final List<long[]> before;

    private final List<List<Long>> drawn = new ArrayList<>(List.of(new ArrayList<>()));
    private final List<String> notes = new ArrayList<>();
    private boolean ended;

    private Choices(@Nullable SplittableRandom random, List<long[]> before) {
        this.random = random;
        this.before = before;
    }

    public static Choices of(long seed) {
        return new Choices(new SplittableRandom(seed), List.of());
    }

    static Choices again(List<long[]> parts) {
        return new Choices(null, parts);
    }

    /** Reads what {@link #text} wrote. */
    static List<long[]> parse(String text) {
        return Stream.of(text.split(";", -1))
                .map(part -> Stream.of(part.split(",", -1))
                        .filter(value -> !value.isEmpty())
                        .mapToLong(value -> Long.parseUnsignedLong(value, RADIX))
                        .toArray())
                .toList();
    }

    static String text(List<long[]> parts) {
        return parts.stream()
                .map(part -> Arrays.stream(part)
                        .mapToObj(value -> Long.toUnsignedString(value, RADIX))
                        .collect(Collectors.joining(",")))
                .collect(Collectors.joining(";"));
    }

    /** Begins a step. False if the program has had its steps: what it draws from now on belongs to none. */
    public boolean step(int most) {
        int steps = drawn.size() - 1;
        drawn.add(new ArrayList<>());
        ended = ended || (random != null ? steps >= most : drawn.size() >= before.size());
        return !ended;
    }

    /** Whether a program that failed is drawn again. */
    public boolean isAgain() {
        return random == null;
    }

    /** Says what a step does, for the report of a failure. */
    public void note(String step) {
        notes.add(step);
    }

    List<String> notes() {
        return notes;
    }

    @Override
    public long nextLong() {
        return keep(random != null ? random.nextLong() : 0);
    }

    /** A number that the program chooses the first time, such as one of the step's place: it stays if others are left out. */
    public long keep(long chosen) {
        List<Long> part = drawn.get(drawn.size() - 1);
        long value = random != null ? chosen : again(drawn.size() - 1, part.size());
        part.add(value);
        return value;
    }

    private long again(int part, int at) {
        int known = part < before.size() ? before.get(part).length : 0;
        return at < known ? before.get(part)[at] : (long) (at - known) << Integer.SIZE;
    }

    /** The numbers of the set-up, of each step and of the end. */
    List<long[]> parts() {
        List<long[]> parts = new ArrayList<>();
        drawn.forEach(part -> parts.add(part.stream().mapToLong(Long::longValue).toArray()));
        if (!ended) {
            parts.add(new long[0]);
        }
        return parts;
    }
}
