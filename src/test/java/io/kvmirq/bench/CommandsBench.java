/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;

/**
 * The time from the start of a command to its end, beside a program of the same Java that does nothing. {@code make bench
 * T=commands} runs it.
 */
final class CommandsBench {
    private static final int ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 2;

    private enum Op {
        VERSION("--version"),
        DOCTOR("doctor");

        private final String argument;

        Op(String argument) {
            this.argument = argument;
        }
    }

    private CommandsBench() {}

    /** A program that does nothing: what a start of Java costs. */
    static final class Nothing {
        private Nothing() {}

        public static void main(String[] arguments) {}
    }

    /** @param arguments where the command is from, the command, and the Java that it runs on */
    public static void main(String[] arguments) throws URISyntaxException {
        Bench bench = new Bench("commands");
        String classes = Path.of(CommandsBench.class
                        .getProtectionDomain()
                        .getCodeSource()
                        .getLocation()
                        .toURI())
                .toString();
        List<String> nothing = List.of(arguments[2], "-cp", classes, Nothing.class.getName());
        Rounds.of(
                Op.values(),
                bench.warmUp(WARM_UP_ROUNDS),
                op -> run(arguments[2], List.of(arguments[1], op.argument)),
                op -> run(arguments[2], nothing));
        bench.measure(
                Op.values(),
                ROUNDS,
                op -> run(arguments[2], List.of(arguments[1], op.argument)),
                op -> run(arguments[2], nothing),
                op -> new Bench.Title(
                        arguments[0] + ": kvmirq " + op.argument + " / a program of the same Java that does nothing",
                        Goal.none()));
    }

    /** Nanoseconds. */
    private static double run(String java, List<String> command) {
        ProcessBuilder builder = new ProcessBuilder(command)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD);
        builder.environment().put("JAVA", java);
        long start = System.nanoTime();
        try {
            Process process = builder.start();
            process.getOutputStream().close();
            // A doctor that finds a flaw ends with 1.
            if (process.waitFor() > 1) {
                throw new IllegalStateException(command + " ended with " + process.exitValue());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
        return System.nanoTime() - start;
    }
}
