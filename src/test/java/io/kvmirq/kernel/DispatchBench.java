/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * The cost of an event of an {@link EventLoop} beside a loop in C: from where eventfds are signalled to where all their
 * handlers have returned. Both sides wait for as many eventfds each, in one process, and take turns. {@code make bench
 * T=dispatch} runs it.
 *
 * <p>The other half is {@code src/test/native/dispatch.c}.
 */
final class DispatchBench {
    private static final int EVENTFDS = 1024;
    private static final int ROUNDS = 101;
    private static final int WARM_UP_ROUNDS = 100;
    /** Events of a batch, a millisecond or less. */
    private static final int BATCH = 2048;

    /** As in the other half. */
    private enum Mode {
        LEVEL,
        EDGE
    }

    private enum Op {
        EDGE_OVER_LEVEL("doorbells / C, level-triggered and read", Mode.EDGE, Mode.LEVEL, Goal.faster(5)),
        EDGE("doorbells / C, edge-triggered", Mode.EDGE, Mode.EDGE, Goal.atMost(1.10)),
        LEVEL("counts / C, level-triggered and read", Mode.LEVEL, Mode.LEVEL, Goal.atMost(1.10));

        private final String title;
        private final Mode java;
        private final Mode c;
        private final Goal goal;

        Op(String title, Mode java, Mode c, Goal goal) {
            this.title = title;
            this.java = java;
            this.c = c;
            this.goal = goal;
        }
    }

    /** A loop in Java, and how often its handlers were called. */
    private static final class Loop {
        private final EventLoop loop;
        private final List<EventFd> events = new ArrayList<>();
        private int next;
        private long calls;

        Loop(Kernel kernel, Mode mode) {
            this.loop = EventLoop.create(kernel);
            for (int i = 0; i < EVENTFDS; i++) {
                EventFd event = EventFd.create(kernel);
                events.add(event);
                if (mode == Mode.LEVEL) {
                    loop.register(event, count -> calls++);
                } else {
                    loop.registerDoorbell(event, () -> calls++);
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
                    left -= loop.runOnce();
                }
                spent += System.nanoTime() - start;
            }
            return spent;
        }
    }

    private final Bench bench = new Bench("dispatch");
    private final int ready;
    private final Map<Mode, Loop> inJava = new EnumMap<>(Mode.class);
    private final Map<Mode, Long> inC = new EnumMap<>(Mode.class);

    private DispatchBench(Kernel kernel, int ready) {
        this.ready = ready;
        for (Mode mode : Mode.values()) {
            inJava.put(mode, new Loop(kernel, mode));
            inC.put(mode, require(openInC(EVENTFDS, mode.ordinal())));
        }
    }

    private static native long openInC(int count, int mode);

    private static native long dispatchInC(long loop, int signalled, int times);

    /** @param arguments the binding, the absolute path of the other half, then numbers of eventfds that are ready */
    public static void main(String[] arguments) {
        System.load(arguments[1]);
        try (Kernel kernel = Kernel.open(arguments[0])) {
            for (String ready : List.of(arguments).subList(2, arguments.length)) {
                new DispatchBench(kernel, Integer.parseInt(ready)).run();
            }
        }
    }

    private void run() {
        Rounds.of(Op.values(), bench.warmUp(WARM_UP_ROUNDS), this::java, this::c);
        bench.measure(Op.values(), ROUNDS, this::java, this::c, this::title);
    }

    /** With one event ready, a wait costs more than a read. */
    private Bench.Title title(Op op) {
        Goal goal = ready < 16 && op.java != op.c ? Goal.none() : op.goal;
        return new Bench.Title(op.title + ", " + ready + " ready of " + EVENTFDS, goal);
    }

    private int times() {
        return Math.max(1, BATCH / ready);
    }

    /** Nanoseconds of an event. */
    private double java(Op op) {
        return perEvent(inJava.get(op.java).dispatch(ready, times()));
    }

    private double c(Op op) {
        return perEvent(require(dispatchInC(inC.get(op.c), ready, times())));
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
