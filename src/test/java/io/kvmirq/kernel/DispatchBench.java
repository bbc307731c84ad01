/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.Rounds;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The cost of an event of an {@link EventLoop} beside a loop in C: from where eventfds are signalled to where all their
 * handlers have returned. Both sides wait for as many eventfds each, in one process, and take turns. It reports and
 * asserts no time; {@code scripts/bench-dispatch} runs it.
 *
 * <p>The other half is {@code src/test/native/dispatch.c}.
 */
final class DispatchBench {
    private static final int EVENTFDS = 1024;
    private static final int ROUNDS = 101;
    private static final int WARM_UP_ROUNDS = 100;
    /** Events of a batch, a millisecond or less. */
    private static final int BATCH = 2048;

    /** In each, the first side over the second should not exceed the goal. */
    private enum Op {
        EDGE_OVER_LEVEL("Java, doorbells / C, level and read", true, false, 1 / 5.0),
        EDGE("Java, doorbells / C, edge", true, true, 1.10),
        LEVEL("Java, counts / C, level and read", false, false, 1.05);

        private final String title;
        private final boolean edgeInJava;
        private final boolean edgeInC;
        private final double goal;

        Op(String title, boolean edgeInJava, boolean edgeInC, double goal) {
            this.title = title;
            this.edgeInJava = edgeInJava;
            this.edgeInC = edgeInC;
            this.goal = goal;
        }
    }

    /** A loop in Java, and how often its handlers were called. */
    private static final class Loop {
        private final EventLoop loop;
        private final List<EventFd> events = new ArrayList<>();
        private int next;
        private long calls;

        Loop(Kernel kernel, boolean edge) {
            this.loop = EventLoop.create(kernel);
            for (int i = 0; i < EVENTFDS; i++) {
                EventFd event = EventFd.create(kernel);
                events.add(event);
                if (edge) {
                    loop.registerDoorbell(event, () -> calls++);
                } else {
                    loop.register(event, count -> calls++);
                }
            }
        }

        /** As {@code dispatchInC}. */
        long dispatch(int signalled, int times) {
            long spent = 0;
            for (int i = 0; i < times; i++) {
                for (int j = 0; j < signalled; j++) {
                    events.get(next).signal();
                    next = (next + 1) % EVENTFDS;
                }
                long start = System.nanoTime();
                for (int left = signalled; left > 0; ) {
                    left -= loop.poll(-1);
                }
                spent += System.nanoTime() - start;
            }
            return spent;
        }
    }

    private final PrintStream out;
    private final int ready;
    private final Loop edge;
    private final Loop level;
    private final long edgeInC = require(openInC(EVENTFDS, true));
    private final long levelInC = require(openInC(EVENTFDS, false));

    private DispatchBench(PrintStream out, Kernel kernel, int ready) {
        this.out = out;
        this.ready = ready;
        this.edge = new Loop(kernel, true);
        this.level = new Loop(kernel, false);
    }

    private static native long openInC(int count, boolean edge);

    private static native long dispatchInC(long loop, int signalled, int times);

    /** @param arguments the binding, the absolute path of the other half, then numbers of eventfds that are ready */
    public static void main(String[] arguments) {
        System.load(arguments[1]);
        try (Kernel kernel = Kernel.open(arguments[0])) {
            for (String ready : List.of(arguments).subList(2, arguments.length)) {
                new DispatchBench(System.out, kernel, Integer.parseInt(ready)).run();
            }
        }
    }

    private void run() {
        Rounds.of(Op.values(), WARM_UP_ROUNDS, this::java, this::c);
        Rounds.of(Op.values(), ROUNDS, this::java, this::c).forEach(this::print);
    }

    private void print(Op op, Rounds rounds) {
        out.printf(
                Locale.ROOT,
                "%-6d%-38s%8.0f%8.0f%9.3f%8.3f%9.3f%11.2f%9.2f%s%n",
                ready,
                op.title,
                rounds.java(50),
                rounds.c(50),
                rounds.ratio(),
                op.goal,
                rounds.java(10) / rounds.c(10),
                rounds.spread(),
                (double) Allocations.leastOf(() -> java(op)) / (times() * ready),
                rounds.isCalm() ? "" : "  not calm");
    }

    private int times() {
        return Math.max(1, BATCH / ready);
    }

    /** Nanoseconds of an event. */
    private double java(Op op) {
        return perEvent((op.edgeInJava ? edge : level).dispatch(ready, times()));
    }

    private double c(Op op) {
        return perEvent(require(dispatchInC(op.edgeInC ? edgeInC : levelInC, ready, times())));
    }

    private double perEvent(long nanos) {
        return (double) nanos / times() / ready;
    }

    private static long require(long result) {
        if (result <= 0) {
            throw new IllegalStateException("the other half answers " + result);
        }
        return result;
    }
}
