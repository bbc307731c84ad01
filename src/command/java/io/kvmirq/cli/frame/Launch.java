/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.Errno;
import io.kvmirq.undo.Undo;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * One start of a program by an executable of ours, a launcher (launch.c). The launcher gets a report in memory and the
 * number of this process, and ends with it. The report has the reason if the program was not started. For one thread.
 */
public final class Launch implements AutoCloseable {
    private final Path launcher;
    private final UnnamedFile report;
    private final BufferedReader lines;

    /** {@code name} is for /proc/PID/maps. UnreadableInputException without a descriptor for the report. */
    public Launch(Path launcher, String name) throws IOException {
        this.launcher = launcher;
        try (Undo undo = new Undo()) {
            this.report = undo.add(UnnamedFile.create(name));
            this.lines = Files.newBufferedReader(report.path());
            undo.keep();
        }
    }

    /** The launcher's command: {@code options}, the number of this process, and {@code rest}. */
    public ProcessBuilder builder(List<String> options, List<String> rest) {
        List<String> words =
                new ArrayList<>(List.of(launcher.toString(), report.path().toString()));
        words.addAll(options);
        words.add(Long.toString(ProcessHandle.current().pid()));
        words.addAll(rest);
        ProcessBuilder builder = new ProcessBuilder(words);
        OtherProgram.restoreLocale(builder.environment());
        return builder;
    }

    /** The name of the launcher's step that failed, and an errno, which may be 0. */
    public record Failed(String step, int error) {
        /** @param words of a line of the report that begins with "failed" */
        public static Failed of(String[] words) {
            return new Failed(words[1], Integer.parseInt(words[2]));
        }

        public String errno() {
            return error == 0 ? "no errno" : new Errno(error).toString();
        }

        /** The reason why the program itself cannot be executed; empty if another step failed. */
        public Optional<String> notExecuted() {
            if (!step.equals("exec")) {
                return Optional.empty();
            }
            return Optional.of(
                    error == Errno.ENOENT.number()
                            ? "not found"
                            : error == Errno.EACCES.number() ? "permission denied" : errno());
        }
    }

    /** The words of the next line of the report; empty at its end. */
    public Optional<String[]> read() throws IOException {
        return Optional.ofNullable(lines.readLine()).map(line -> line.split(" ", -1));
    }

    @Override
    public void close() {
        try {
            lines.close();
        } catch (IOException e) {
            // The report is only read here.
        }
        report.close();
    }
}
