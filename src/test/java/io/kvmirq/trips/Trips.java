/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.trips;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Counts the methods that a thread enters. The classes of {@link TracedClasses} call it. */
public final class Trips {
    private static final Map<String, Integer> CALLS = new HashMap<>();
    /** As {@link #CALLS}, below a method that reads a configuration space. */
    private static final Map<String, Integer> READS = new HashMap<>();

    private static final List<Trip> TRIPS = new ArrayList<>();
    private static boolean counting;
    private static int reading;

    /**
     * A trip.
     *
     * @param calls by the name of class and method
     */
    record Trip(String name, Map<String, Integer> calls) {
        int sum() {
            return calls.values().stream().mapToInt(Integer::intValue).sum();
        }

        long classes() {
            return calls.keySet().stream()
                    .map(method -> method.replaceFirst("(\\$[^.]*)?\\.[^.]*$", ""))
                    .distinct()
                    .count();
        }
    }

    private Trips() {}

    /** Called at the entry of each method. */
    public static void enter(String method) {
        if (counting) {
            (reading > 0 ? READS : CALLS).merge(method, 1, Integer::sum);
        }
    }

    /** Called at the entry of a method that reads a configuration space. */
    public static void beginReading() {
        reading++;
    }

    /** Called where that method returns. */
    public static void endReading() {
        reading--;
    }

    /** Counts what a step calls. Its reads of configuration space are a trip of their own. */
    public static void count(String name, Runnable step) {
        CALLS.clear();
        READS.clear();
        counting = true;
        try {
            step.run();
        } finally {
            counting = false;
        }
        TRIPS.add(new Trip(name, Map.copyOf(CALLS)));
        if (!READS.isEmpty()) {
            TRIPS.add(new Trip(name + ", configuration space", Map.copyOf(READS)));
        }
    }

    static List<Trip> taken() {
        return List.copyOf(TRIPS);
    }
}
