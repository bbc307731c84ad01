/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Runs every order once, starting with those that have the fewest preemptions. If an order fails, orders with more
 * preemptions do not run. A run records which other actors could have taken each step, and so which orders remain.
 */
final class InterleavingsSearch {
    private static final String UNSTABLE = "The test depends on more than the order: create in the method all state"
            + " that an order changes, and do not use fields, threads, time or random numbers";

    /** The result: the number of orders that ran, and the failing order. {@code text} is empty if all passed. */
    record Found(int orders, Optional<ActorsRun> failing, String text) {}

    private final Function<ActorsOrder, ActorsRun> program;
    private final Function<String, RuntimeException> mistake;
    private final int bound;
    private final int limit;
    private int orders;
    private @Nullable ActorsRun first;

    InterleavingsSearch(
            Function<ActorsOrder, ActorsRun> program,
            Function<String, RuntimeException> mistake,
            int preemptions,
            int limit) {
        this.program = program;
        this.mistake = mistake;
        this.bound = preemptions;
        this.limit = limit;
    }

    Found search() {
        Deque<ActorsOrder> left = new ArrayDeque<>(List.of(ActorsOrder.ANY));
        for (int preemptions = 0; ; preemptions++) {
            Deque<ActorsOrder> next = new ArrayDeque<>();
            int before = orders;
            int failed = 0;
            @Nullable ActorsRun shortest = null;
            while (!left.isEmpty()) {
                ActorsOrder order = left.pop();
                ActorsRun ran = run(order);
                if (ran.shape().isEmpty()) {
                    return new Found(
                            orders, Optional.of(ran), "order " + order + " fails " + ran.described() + ". " + UNSTABLE);
                }
                addOthers(ran, order.actors().size(), left, next);
                requireFewEnough(orders + left.size() + (preemptions < bound ? next.size() : 0));
                failed += ran.failed() ? 1 : 0;
                if (ran.failed()
                        && (shortest == null
                                || ran.turns().size() < shortest.turns().size())) {
                    shortest = ran;
                }
            }
            if (shortest != null) {
                String doubt = doubt(shortest);
                return new Found(
                        orders,
                        Optional.of(shortest),
                        doubt.isEmpty() ? found(shortest, failed, orders - before, before, preemptions) : doubt);
            }
            if (preemptions == bound || next.isEmpty()) {
                return new Found(orders, Optional.empty(), "");
            }
            left = next;
        }
    }

    private ActorsRun run(ActorsOrder order) {
        ActorsRun ran;
        try {
            ran = program.apply(order);
        } catch (ActorsOrder.Unfit e) {
            throw mistake.apply("order " + order + " ran until a switch, but now " + e.getMessage() + ". " + UNSTABLE);
        }
        if (first == null) {
            first = ran;
            requireFewEnough(ran.shape());
        } else if (!ran.shape().isEmpty() && !ran.shape().equals(first.shape())) {
            throw mistake.apply("the actors were " + words(first.shape()) + ", but in order " + ran.order()
                    + " they are " + words(ran.shape()) + ". " + UNSTABLE);
        }
        orders++;
        return ran;
    }

    /** Queues each order that differs from this run first at a step after the {@code named} ones. */
    private static void addOthers(ActorsRun ran, int named, Deque<ActorsOrder> left, Deque<ActorsOrder> next) {
        ActorsOrder order = ran.order();
        for (int i = named; i < ran.turns().size(); i++) {
            ActorsRun.Turn turn = ran.turns().get(i);
            for (int other : turn.able()) {
                if (other != turn.actor()) {
                    (turn.free() ? left : next).push(order.with(i, other));
                }
            }
        }
    }

    private void requireFewEnough(List<ActorsRun.Shape> shape) {
        List<Integer> steps = shape.stream().map(ActorsRun.Shape::steps).toList();
        if (shape.stream().anyMatch(ActorsRun.Shape::waits)) {
            return;
        }
        BigInteger all = InterleavingsCount.orders(steps, bound);
        if (!isMore(all)) {
            return;
        }
        int fewer = bound - 1;
        while (fewer > 0 && isMore(InterleavingsCount.orders(steps, fewer))) {
            fewer--;
        }
        BigInteger others = InterleavingsCount.orders(steps, Math.max(fewer, 0));
        String advice = fewer >= 0 && !isMore(others)
                ? "lower preemptions to " + fewer + ", which has " + others + ", give the actors fewer steps"
                : "use fewer actors or fewer steps";
        throw mistake.apply(all + " orders of " + words(shape) + " with preemptions = " + bound
                + " are more than limit = " + limit + ": " + advice + ", or raise limit");
    }

    private static String words(List<ActorsRun.Shape> shape) {
        return shape.stream().map(ActorsRun.Shape::toString).collect(Collectors.joining(", "));
    }

    private boolean isMore(BigInteger count) {
        return count.compareTo(BigInteger.valueOf(limit)) > 0;
    }

    private void requireFewEnough(int known) {
        if (known > limit) {
            throw mistake.apply("more than limit = " + limit + " orders (" + known + " are known, " + orders
                    + " of them ran) with preemptions = " + bound
                    + ": lower preemptions, give the actors fewer steps, or raise limit");
        }
    }

    /** Runs a failing order and a passing one again. The text is empty if both have the same result again. */
    private String doubt(ActorsRun failing) {
        ActorsRun again;
        try {
            again = program.apply(failing.order());
        } catch (ActorsOrder.Unfit e) {
            return "order " + failing.order() + " fails, and when it runs again " + e.getMessage() + ". " + UNSTABLE
                    + ".\n" + failing.described();
        }
        if (!again.failed() || !again.lines().equals(failing.lines())) {
            return "order " + failing.order() + " fails, and when it runs again it "
                    + (again.failed() ? "fails elsewhere" : "passes") + ". " + UNSTABLE + ".\n" + failing.described();
        }
        if (first != null && !first.failed() && program.apply(first.order()).failed()) {
            return "order " + failing.order() + " fails, and so does " + first.order() + " now, which passed at first. "
                    + UNSTABLE + ".\n" + failing.described();
        }
        return "";
    }

    private static String found(ActorsRun failing, int failed, int ofThese, int before, int preemptions) {
        String with = preemptions == 0
                ? "without a preemption"
                : "with " + preemptions + (preemptions == 1 ? " preemption" : " preemptions");
        String fewer = preemptions == 0 ? "" : "; all " + before + " with fewer pass";
        return failed + " of " + ofThese + " orders " + with + (failed == 1 ? " fails" : " fail") + fewer + ". Order "
                + failing.order() + ":\n" + failing.described();
    }
}
