/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One order that ran. {@code failure} is null if it passed, {@code when} is where in the order it failed. */
record ActorsRun(
        List<Shape> shape,
        List<Turn> turns,
        List<String> lines,
        @Nullable Throwable failure,
        String when) {
    record Shape(String name, int steps, boolean waits) {
        @Override
        public String toString() {
            return name + " (" + steps + (steps == 1 ? " step)" : " steps)");
        }
    }

    /** A step, and the actors that could take it. {@code free} is true if the previous actor could not continue. */
    record Turn(int actor, List<Integer> able, boolean free) {}

    /** The run of a method that failed before its first step. */
    static ActorsRun notBegun(Throwable failure) {
        return new ActorsRun(List.of(), List.of(), List.of(), failure, "before its first step");
    }

    ActorsOrder order() {
        return new ActorsOrder(turns.stream().map(Turn::actor).toList());
    }

    boolean failed() {
        return failure != null;
    }

    String described() {
        List<String> said = new ArrayList<>();
        for (int i = 0; i < lines.size(); i++) {
            said.add("  " + (i + 1) + ". " + lines.get(i));
        }
        said.add(when + ": " + (failure == null ? "passed" : message(failure)));
        return String.join("\n", said);
    }

    private static String message(Throwable thrown) {
        return thrown instanceof AssertionError && thrown.getMessage() != null
                ? thrown.getMessage()
                : thrown.toString();
    }

    /** Adds failures that came after the steps; {@code whenMore} says when. */
    ActorsRun andFailed(List<? extends Throwable> more, String whenMore) {
        if (more.isEmpty()) {
            return this;
        }
        Throwable first = failure == null ? more.get(0) : failure;
        more.stream().filter(later -> later != first).forEach(first::addSuppressed);
        return new ActorsRun(shape, turns, lines, first, failure == null ? whenMore : when);
    }
}
