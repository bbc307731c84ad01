/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A side of a comparison that needs a process of its own, such as a program in C. It waits while the other side runs, so
 * that rounds take turns. The program reads lines {@code OPERATION COUNT} from its input and answers each by a line: the
 * nanoseconds of one operation.
 */
public final class Coprocess implements AutoCloseable {
    private final List<String> command;
    private final Process process;
    private final PrintStream input;
    private final BufferedReader output;

    public Coprocess(List<String> command) throws IOException {
        this.command = command;
        process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        input = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
        output = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    }

    /** Nanoseconds of an operation, of so many. */
    public double time(String operation, int count) {
        input.println(operation + " " + count);
        try {
            String answer = output.readLine();
            if (answer == null) {
                throw new IllegalStateException(command + " ended when it was asked for " + operation);
            }
            return Double.parseDouble(answer);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The program ends when its input does. */
    @Override
    public void close() {
        input.close();
        try {
            process.waitFor();
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
