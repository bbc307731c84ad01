/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static java.util.stream.Collectors.joining;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/** The files, or top-level classes, that each one of a program or package uses there; and the circles that they form. */
final class Arrows {
    private final Map<String, Set<String>> used = new TreeMap<>();

    void add(String from, String to) {
        used.computeIfAbsent(from, key -> new TreeSet<>()).add(to);
        used.computeIfAbsent(to, key -> new TreeSet<>());
    }

    private Set<String> reached(String from) {
        Set<String> reached = new TreeSet<>();
        Deque<String> next = new ArrayDeque<>(used.get(from));
        while (!next.isEmpty()) {
            String name = next.pop();
            if (reached.add(name)) {
                next.addAll(used.get(name));
            }
        }
        return reached;
    }

    /** The files of the largest circle; empty if there is none. */
    Set<String> largestCircle() {
        Map<String, Set<String>> reached = new TreeMap<>();
        used.keySet().forEach(name -> reached.put(name, reached(name)));
        Set<String> largest = Set.of();
        for (String name : used.keySet()) {
            Set<String> circle = new TreeSet<>(reached.get(name));
            circle.removeIf(other -> !reached.get(other).contains(name));
            largest = circle.size() > largest.size() ? circle : largest;
        }
        return largest;
    }

    /** The arrows of a circle, each with the largest circle that is left without it; the smallest comes first. */
    private String breaking(Set<String> circle) {
        List<Map.Entry<String, Integer>> left = new ArrayList<>();
        for (String from : circle) {
            for (String to : List.copyOf(used.get(from))) {
                if (circle.contains(to)) {
                    used.get(from).remove(to);
                    left.add(Map.entry(from + " -> " + to, largestCircle().size()));
                    used.get(from).add(to);
                }
            }
        }
        return left.stream()
                .sorted(Map.Entry.comparingByValue())
                .limit(8)
                .map(arrow -> "\n  " + Math.max(arrow.getValue(), 1) + " without " + arrow.getKey())
                .collect(joining());
    }

    String describe() {
        Set<String> circle = largestCircle();
        return circle.size() + " in a circle: " + String.join(" ", circle) + breaking(circle);
    }
}
