/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.trips;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.trips.Trips.Trip;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/**
 * The number of methods that a step enters, on the fake kernel: a detour, or a scan of what is not there, is seen. The
 * numbers only go down. A trip that is longer shows its most frequent calls.
 *
 * <p>Every method with code counts, see {@link TracedClasses}: a tracer that leaves out lambdas, bridges or accessors of
 * records finds shorter trips. Calls of the JDK do not count. What a trip does to read configuration space is a trip of
 * its own: the fake's methods that read it, and all that they call.
 */
class TripsTest {
    private static final int SHOWN = 20;

    /** The second time in a JVM, when each class is loaded. */
    private static final Map<String, Integer> LONGEST = Map.of(
            "6.12, again: open", 1500,
            "6.12, again: open, configuration space", 200,
            "6.12, again: forwardAll of one", 980,
            "6.12, again: message", 122,
            "6.12, again: second message", 111,
            "vtd-posting, again: open", 1500,
            "vtd-posting, again: open, configuration space", 200,
            "vtd-posting, again: forwardAll of one", 1250,
            "vtd-posting, again: message", 380,
            "vtd-posting, again: second message", 220);

    @Test
    void tripsAreNotLonger() throws ReflectiveOperationException {
        Class<?> scenario = new TracedClasses().loadClass(TripsScenario.class.getName());
        for (String profile : List.of("6.12", "vtd-posting")) {
            scenario.getMethod("run", String.class).invoke(null, profile);
        }
        Map<String, Integer> seen = new TreeMap<>();
        List<String> longer = new ArrayList<>();
        for (Trip trip : Trips.taken()) {
            System.out.printf("%-47s%6d calls of %d classes%n", trip.name(), trip.sum(), trip.classes());
            seen.put(trip.name(), trip.sum());
            if (trip.sum() > LONGEST.getOrDefault(trip.name(), Integer.MAX_VALUE)) {
                longer.add(trip.name() + " has " + trip.sum() + " calls: " + mostFrequent(trip));
            }
        }
        assertThat(seen).containsKeys(LONGEST.keySet().toArray(String[]::new));
        assertThat(longer).isEmpty();
    }

    private static String mostFrequent(Trip trip) {
        return trip.calls().entrySet().stream()
                .sorted(Map.Entry.<String, Integer>comparingByValue().reversed())
                .limit(SHOWN)
                .map(call -> call.getValue() + " " + call.getKey())
                .collect(Collectors.joining(", "));
    }
}
