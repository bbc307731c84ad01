/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Coprocess;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.cli.tapes.TapeCommand;
import io.kvmirq.cli.tapes.TemporaryTape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * The cost that a recorder adds to a call of a program in C: the preloaded library, and the tracer. The program runs with
 * and without it, and both make their calls in turns. {@code make bench T=recording} runs it.
 *
 * <p>The program is {@code src/test/native/loops.c}.
 */
final class PreloadBench {
    private static final int ROUNDS = 61;
    private static final int TRACED_ROUNDS = 21;
    private static final int WARM_UP_ROUNDS = 3;
    private static final int BATCH = 500;
    /** Bytes of lines, which nothing reads. */
    private static final long MOST = 1 << 30;

    private static final double GOAL_NANOS = 1000;
    private static final double TRACED_NANOS = TapeCommand.PTRACE_MOST_MICROS * 1000.0;

    private enum Op {
        WRITE("write", "eventfd write"),
        READ("read", "eventfd read, EAGAIN"),
        COUNT("count", "eventfd_write"),
        VECTOR("vector", "eventfd writev"),
        POLL("poll", "poll of an eventfd and another file"),
        /** Not recorded. */
        OTHER("other", "write to another file"),
        OTHERS("others", "poll of another file"),
        LINE("line", "KVM_IRQ_LINE"),
        MESSAGE("message", "KVM_SIGNAL_MSI"),
        EXTENSION("extension", "KVM_CHECK_EXTENSION"),
        /** A guest of 64 KiB. */
        RUN("run", "KVM_RUN, immediate_exit");

        private final String word;
        private final String title;

        Op(String word, String title) {
            this.word = word;
            this.title = title;
        }
    }

    private PreloadBench() {}

    /** @param arguments the recorder, the program and the tracer */
    public static void main(String[] arguments) throws IOException {
        Bench bench = new Bench("recording", "");
        String program = arguments[1];
        measure(
                bench,
                Op.values(),
                ROUNDS,
                List.of("env", "LD_PRELOAD=" + arguments[0], program),
                program,
                op -> new Bench.Title("preloaded: " + op.title, Goal.adds(GOAL_NANOS)));
        if (!Files.exists(Path.of(arguments[2]))) {
            return; // an earlier commit has none
        }
        measure(
                bench,
                new Op[] {Op.WRITE, Op.OTHER, Op.POLL, Op.LINE, Op.EXTENSION, Op.RUN},
                TRACED_ROUNDS,
                List.of(
                        arguments[2],
                        "/dev/null", // its report
                        Long.toString(ProcessHandle.current().pid()),
                        program),
                program,
                op -> new Bench.Title("traced: " + op.title, Goal.adds(TRACED_NANOS)));
    }

    private static void measure(
            Bench bench, Op[] ops, int rounds, List<String> recording, String program, Function<Op, Bench.Title> title)
            throws IOException {
        // As kvmirq tape does: else each call is a write to the file.
        try (TemporaryTape tape = TemporaryTape.create();
                Coprocess recorded = new Coprocess(recording, Preload.environment(tape.file(), MOST));
                Coprocess plain = new Coprocess(List.of(program), Map.of())) {
            Rounds.of(
                    ops,
                    bench.warmUp(WARM_UP_ROUNDS),
                    op -> recorded.time(op.word, BATCH),
                    op -> plain.time(op.word, BATCH));
            bench.measure(ops, rounds, op -> recorded.time(op.word, BATCH), op -> plain.time(op.word, BATCH), title);
        }
    }
}
