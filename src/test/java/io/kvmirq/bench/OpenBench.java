/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The time to open a binding in a JVM that has done nothing else, and of the first call after it. Each round starts a JVM
 * for each binding. {@code make bench T=open} runs it.
 */
final class OpenBench {
    private static final int ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 2;
    private static final double MILLIS = 1e6;
    private static final double MICROS = 1e3;

    private enum Op {
        JNI("jni", 12 * MILLIS),
        FFM("ffm", 155 * MILLIS),
        JNA("jna", 100 * MILLIS),
        JNR("jnr", 195 * MILLIS),
        FIRST_CALL("jni", 30 * MICROS);

        private final String binding;
        /** Of the others half of the time that they took before anything was made lazy. */
        private final double nanos;

        Op(String binding, double nanos) {
            this.binding = binding;
            this.nanos = nanos;
        }
    }

    private OpenBench() {}

    /**
     * The parent starts the command that follows with a binding as its last argument; the child is this class with a
     * binding alone.
     *
     * @param arguments a binding; or {@code library} or {@code command}, {@code --} and the command that starts a child
     */
    public static void main(String[] arguments) {
        if (arguments.length == 1) {
            child(arguments[0]);
            return;
        }
        String how = arguments[0];
        List<String> command = List.of(arguments).subList(1, arguments.length);
        boolean isCommand = how.equals("command");
        List<Op> ops = new ArrayList<>(List.of(Op.JNI, Op.FIRST_CALL));
        Bench bench = new Bench("open");
        if (!isCommand && !bench.isBrief()) {
            ops.addAll(List.of(Op.JNA, Op.JNR));
            if (Runtime.version().feature() >= 22) {
                ops.add(Op.FFM);
            }
        }
        Op[] all = ops.toArray(Op[]::new);
        Rounds.of(all, bench.warmUp(WARM_UP_ROUNDS), op -> opened(command, op), op -> 0);
        bench.measure(
                all,
                ROUNDS,
                op -> opened(command, op),
                op -> 0,
                op -> new Bench.Title(
                        "by the " + how + ": " + op.binding + (op == Op.FIRST_CALL ? ", first call" : ""),
                        Goal.adds(isCommand && op == Op.JNI ? 5 * MILLIS : op.nanos)));
    }

    private static void child(String binding) {
        long start = System.nanoTime();
        KernelBackend kernel = Backends.ofThisMachine().open(binding);
        long opened = System.nanoTime();
        int fd = kernel.eventfdCreate();
        long called = System.nanoTime();
        if (fd < 0) {
            throw new IllegalStateException("the kernel answers " + fd);
        }
        System.out.println(opened - start + " " + (called - opened));
    }

    private static double opened(List<String> command, Op op) {
        List<String> whole = new ArrayList<>(command);
        whole.add(op.binding);
        try {
            ProcessBuilder builder = new ProcessBuilder(whole).redirectError(ProcessBuilder.Redirect.INHERIT);
            // The argument names the binding.
            builder.environment().remove("KVMIRQ_BACKEND");
            Process process = builder.start();
            String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            String[] nanos = said.strip().split(" ", -1);
            if (process.waitFor() != 0 || nanos.length != 2) {
                throw new IllegalStateException(whole + " said: " + said);
            }
            return Double.parseDouble(nanos[op == Op.FIRST_CALL ? 1 : 0]);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
