/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleSupplier;

/**
 * The cost of an event of an {@link EventLoop} beside a loop in C: from where eventfds are signalled to where all their
 * handlers have returned. Both sides wait for as many eventfds each. {@code make bench T=dispatch} runs it.
 *
 * <p>The other half is {@code src/test/native/dispatch.c}.
 */
final class DispatchBench {
    private static final int EVENTFDS = 1024;
    private static final int ROUNDS = 101;
    /** Events of a batch, a millisecond or less. */
    private static final int BATCH = 2048;

    /** As in the other half. */
    private enum Mode {
        LEVEL,
        EDGE
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

    private DispatchBench() {}

    private static native long openInC(int count, int mode);

    private static native long dispatchInC(long loop, int signalled, int times);

    /** @param arguments the absolute path of the other half */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni")) {
            Loop edge = new Loop(kernel, Mode.EDGE);
            Loop level = new Loop(kernel, Mode.LEVEL);
            long edgeInC = require(openInC(EVENTFDS, Mode.EDGE.ordinal()));
            long levelInC = require(openInC(EVENTFDS, Mode.LEVEL.ordinal()));
            for (int ready : new int[] {1, 16, 256}) {
                int times = BATCH / ready;
                double events = (double) ready * times;
                DoubleSupplier ofEdge = () -> edge.dispatch(ready, times) / events;
                DoubleSupplier ofLevel = () -> level.dispatch(ready, times) / events;
                DoubleSupplier ofEdgeInC = () -> require(dispatchInC(edgeInC, ready, times)) / events;
                DoubleSupplier ofLevelInC = () -> require(dispatchInC(levelInC, ready, times)) / events;
                String which = ", " + ready + " ready of " + EVENTFDS;
                // With one event ready, a wait costs more than a read.
                double faster = ready < 16 ? Double.NaN : 0.20;
                new Bench("dispatch")
                        .measure(
                                ROUNDS,
                                ROUNDS,
                                List.of(
                                        new Row(
                                                "doorbells / C, level-triggered and read" + which,
                                                faster,
                                                ofEdge,
                                                ofLevelInC),
                                        new Row("doorbells / C, edge-triggered" + which, 1.10, ofEdge, ofEdgeInC),
                                        new Row(
                                                "counts / C, level-triggered and read" + which,
                                                1.10,
                                                ofLevel,
                                                ofLevelInC)));
            }
            if (edge.calls == 0 || level.calls == 0) {
                throw new IllegalStateException("no handler was called");
            }
        }
    }

    private static long require(long result) {
        if (result <= 0) {
            throw new IllegalStateException("the other half answers " + result);
        }
        return result;
    }
}
