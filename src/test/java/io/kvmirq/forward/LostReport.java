/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.forward.LostSearch.Figures;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code main}: how many messages to send, divided among the profiles; a line for each search, then those that lose
 * some.
 */
final class LostReport {
    private LostReport() {}

    /** @param arguments how many messages, and the first seed */
    public static void main(String[] arguments) {
        long messages = Long.parseLong(arguments[0]);
        long first = arguments.length > 1 ? Long.parseLong(arguments[1]) : 0;
        List<LibraryWay.Triggers> kinds = List.of(LibraryWay.Triggers.values());
        long each = (messages - 1) / ((long) LostSearch.PROFILES.size() * kinds.size()) + 1;
        List<Figures> all = new ArrayList<>();
        for (String profile : LostSearch.PROFILES) {
            for (LibraryWay.Triggers kind : kinds) {
                Figures figures = LostSearch.run(profile, kind, first, each);
                System.out.println(profile + ", triggers " + kind + ": " + figures);
                all.add(figures);
            }
        }
        boolean wrong = false;
        System.out.println("\norders that look right, on 6.12:");
        for (NaiveOrder order : NaiveOrder.values()) {
            Figures figures = LostSearch.windows("6.12", order);
            System.out.println(order + ": " + figures);
            wrong |= figures.lost > 0 != order.loses();
        }
        long lost =
                all.stream().mapToLong(figures -> figures.lost + figures.strays).sum();
        System.out.printf(
                "%n%d fired, %d arrived, %d lost%n",
                all.stream().mapToLong(figures -> figures.fired).sum(),
                all.stream().mapToLong(figures -> figures.arrived).sum(),
                lost);
        System.exit(wrong || lost > 0 ? 1 : 0);
    }
}
