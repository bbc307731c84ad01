/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Coprocess;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The cost that the preloaded recorder adds to a call of a program in C: the program runs twice, with and without the
 * library, and both make their calls in turns. {@code make bench T=recording} runs it.
 *
 * <p>The program is {@code src/test/native/loops.c}.
 */
final class PreloadBench {
    private static final int ROUNDS = 61;
    private static final int WARM_UP_ROUNDS = 3;
    private static final int BATCH = 500;
    private static final double GOAL_NANOS = 1000;

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

    /** @param arguments the recorder and the program */
    public static void main(String[] arguments) throws IOException {
        Bench bench = new Bench("recording", "");
        List<String> program = List.of(arguments[1]);
        Path tape = Files.createTempFile("kvmirq", ".bench");
        try (OutputStream empty = Files.newOutputStream(tape)) {
            SlotFile.prepare(empty); // as kvmirq tape does: else each call is a write to the file
        }
        Map<String, String> preloaded = new HashMap<>(Preload.environment(tape));
        preloaded.put("LD_PRELOAD", arguments[0]);
        try (Coprocess recorded = new Coprocess(program, preloaded);
                Coprocess plain = new Coprocess(program, Map.of())) {
            Rounds.of(
                    Op.values(),
                    bench.warmUp(WARM_UP_ROUNDS),
                    op -> recorded.time(op.word, BATCH),
                    op -> plain.time(op.word, BATCH));
            bench.measure(
                    Op.values(),
                    ROUNDS,
                    op -> recorded.time(op.word, BATCH),
                    op -> plain.time(op.word, BATCH),
                    op -> new Bench.Title("preloaded: " + op.title, Goal.adds(GOAL_NANOS)));
        } finally {
            Files.delete(tape);
        }
    }
}
