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
        List<ForwardingByLibrary.Kind> kinds = ForwardingByLibrary.Kind.all().toList();
        long each = (messages - 1) / kinds.size() + 1;
        List<Figures> all = new ArrayList<>();
        boolean wrong = false;
        for (ForwardingByLibrary.Kind kind : kinds) {
            Figures figures = LostSearch.run(kind.profile(), kind.maker(), first, each);
            System.out.println(kind.profile() + ", triggers " + kind.triggers() + ", a mirror told of "
                    + kind.knowledge() + ": " + figures);
            all.add(figures);
            wrong |= figures.twice > 0 && !kind.mayComeTwice() || figures.lostByLedger > 0;
            for (List<String> sentences : List.of(figures.flaws, figures.named)) {
                sentences.forEach(System.out::println);
                wrong |= !sentences.isEmpty();
            }
        }
        System.out.println("\norders that look right, on 6.12:");
        for (NaiveOrder order : NaiveOrder.values()) {
            Figures figures = LostSearch.windows("6.12", order);
            System.out.println(order + ": " + figures);
            wrong |= figures.lost > 0 != order.loses();
        }
        long lost = all.stream()
                .mapToLong(figures -> figures.lost + figures.strays + figures.whileMasked)
                .sum();
        System.out.printf(
                "%n%d fired, %d arrived, %d lost, in %d different sequences%n",
                all.stream().mapToLong(figures -> figures.fired).sum(),
                all.stream().mapToLong(figures -> figures.arrived).sum(),
                lost,
                all.stream().mapToLong(figures -> figures.sequences).sum());
        System.exit(wrong || lost > 0 ? 1 : 0);
    }
}
