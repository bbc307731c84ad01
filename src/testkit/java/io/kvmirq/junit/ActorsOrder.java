/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** An order of steps. Each element is the number, from 0, of the actor that takes the step. */
record ActorsOrder(List<Integer> actors) {
    private static final Pattern BLOCK = Pattern.compile("([A-Z])([1-9][0-9]{0,3})");
    private static final Pattern SEED = Pattern.compile("(?:" + BLOCK + ")+");

    static final ActorsOrder ANY = new ActorsOrder(List.of());

    /** Thrown if a step of the order cannot be run. */
    static final class Unfit extends RuntimeException {
        private static final long serialVersionUID = 1;

        Unfit(int step, String why) {
            super("its step " + step + " cannot run: " + why, null, false, false);
        }
    }

    ActorsOrder {
        actors = List.copyOf(actors);
    }

    /** Parses the text form of {@link #toString}. */
    static Optional<ActorsOrder> parse(String seed) {
        if (!SEED.matcher(seed).matches()) {
            return Optional.empty();
        }
        List<Integer> actors = new ArrayList<>();
        Matcher blocks = BLOCK.matcher(seed);
        for (MatchResult block : blocks.results().toList()) {
            for (int i = Integer.parseInt(block.group(2)); i > 0; i--) {
                actors.add(block.group(1).charAt(0) - 'A');
            }
        }
        return Optional.of(new ActorsOrder(actors));
    }

    /** The order that has this order's first {@code steps} steps and then one step of {@code actor}. */
    ActorsOrder with(int steps, int actor) {
        List<Integer> longer = new ArrayList<>(actors.subList(0, steps));
        longer.add(actor);
        return new ActorsOrder(longer);
    }

    /** The text form: {@code B1A2} is one step of actor 1, then two of actor 0. */
    @Override
    public String toString() {
        StringBuilder seed = new StringBuilder();
        for (int from = 0, to; from < actors.size(); from = to) {
            int actor = actors.get(from);
            to = from;
            while (to < actors.size() && actors.get(to) == actor) {
                to++;
            }
            seed.append((char) ('A' + actor)).append(to - from);
        }
        return seed.toString();
    }
}
