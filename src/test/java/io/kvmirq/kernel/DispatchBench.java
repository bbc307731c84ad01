/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/**
 * The cost of a wait in an {@link EventLoop} beside a loop in C: from where eventfds are signalled to where all their
 * handlers have returned. Both sides wait for as many eventfds each. {@code make bench T=dispatch} runs it.
 *
 * <p>C's wait is entered through a native method. Ours calls one that does nothing, so that both have its cost.
 *
 * <p>The other half is {@code src/test/native/dispatch.c}.
 */
@BenchmarkMode(Mode.AverageTime)
public class DispatchBench {
    private static final int EVENTFDS = 1024;
    private static final int READY = 16;

    @SuppressWarnings("NullAway.Init")
    private static Loop edge;

    @SuppressWarnings("NullAway.Init")
    private static Loop level;

    private static long edgeInC;
    private static long levelInC;

    /** A loop in Java, and how often its handlers were called. */
    private static final class Loop {
        private final EventLoop loop;
        private final List<EventFd> events = new ArrayList<>();
        private int next;
        private long calls;

        Loop(Kernel kernel, boolean isEdge) {
            this.loop = EventLoop.create(kernel);
            for (int i = 0; i < EVENTFDS; i++) {
                EventFd event = EventFd.create(kernel);
                events.add(event);
                if (isEdge) {
                    loop.registerDoorbell(event, () -> calls++);
                } else {
                    loop.register(event, count -> calls++);
                }
            }
        }

        void signal() {
            for (int i = 0; i < READY; i++) {
                events.get(next).signal();
                next = (next + 1) % EVENTFDS;
            }
        }

        void dispatch() {
            nothingInC();
            for (int left = READY; left > 0; ) {
                left -= loop.runOnce();
            }
        }
    }

    private static native long openInC(int count, boolean isEdge);

    private static native int signalInC(long loop, int count);

    private static native int dispatchInC(long loop, int count);

    private static native void nothingInC();

    /** @param arguments the absolute path of the other half */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni")) {
            edge = new Loop(kernel, true);
            level = new Loop(kernel, false);
            edgeInC = openInC(EVENTFDS, true);
            levelInC = openInC(EVENTFDS, false);
            if (edgeInC == 0 || levelInC == 0) {
                throw new IllegalStateException("the other half has no loop");
            }
            String which = ", " + READY + " ready of " + EVENTFDS;
            Bench bench = new Bench("dispatch", DispatchBench.class);
            List<Row> rows = List.of(
                    new Row("doorbells / C, edge-triggered" + which, 1.10, "edge", "edgeInC"),
                    new Row("counts / C, level-triggered and read" + which, 1.10, "level", "levelInC"));
            bench.warm(1000, rows);
            bench.measure(101, rows);
            if (edge.calls == 0 || level.calls == 0) {
                throw new IllegalStateException("no handler was called");
            }
        }
    }

    private static void require(int result) {
        if (result != READY) {
            throw new IllegalStateException("the other half answers " + result);
        }
    }

    @State(Scope.Thread)
    public static class Edge {
        @Setup(Level.Invocation)
        public void signal() {
            edge.signal();
        }
    }

    @State(Scope.Thread)
    public static class Counts {
        @Setup(Level.Invocation)
        public void signal() {
            level.signal();
        }
    }

    @State(Scope.Thread)
    public static class EdgeInC {
        @Setup(Level.Invocation)
        public void signal() {
            require(signalInC(edgeInC, READY));
        }
    }

    @State(Scope.Thread)
    public static class CountsInC {
        @Setup(Level.Invocation)
        public void signal() {
            require(signalInC(levelInC, READY));
        }
    }

    @Benchmark
    public void edge(Edge signalled) {
        edge.dispatch();
    }

    @Benchmark
    public void level(Counts signalled) {
        level.dispatch();
    }

    @Benchmark
    public void edgeInC(EdgeInC signalled) {
        require(dispatchInC(edgeInC, READY));
    }

    @Benchmark
    public void levelInC(CountsInC signalled) {
        require(dispatchInC(levelInC, READY));
    }
}
