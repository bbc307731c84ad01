/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.text.Foreign;
import io.kvmirq.undo.Undo;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** A program that the user names and a command runs. */
public final class OtherProgram {
    private static final String LC_ALL = "LC_ALL";

    /** Set by the launcher if it changed the locale of this JVM: the earlier LC_ALL, or empty. */
    private static final String LOCALE = "kvmirq.lc_all";

    /** Java needs four descriptors for pipes, and its other threads open files for a moment. */
    private static final int DESCRIPTORS = 6;

    private OtherProgram() {}

    /** The file of a program, as a shell finds it; UnreadableInputException if there is none. */
    public static Path find(String name) {
        if (name.isEmpty()) {
            throw new UnreadableInputException("cannot run the program: its name is empty");
        }
        try {
            Path found = places(name)
                    .findFirst()
                    .orElseThrow(
                            () -> new UnreadableInputException("cannot run " + Foreign.shown(name) + ": not found"));
            if (Files.isDirectory(found)) {
                throw new UnreadableInputException(
                        "cannot run " + Foreign.shown(name) + ": it is a directory; name a program in it");
            }
            return found;
        } catch (InvalidPathException e) {
            throw new UnreadableInputException("cannot run " + Foreign.shown(name) + ": no file has such a name", e);
        }
    }

    private static Stream<Path> places(String name) {
        return name.contains("/")
                ? Stream.of(Path.of(name)).filter(Files::exists)
                : Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
                        .map(directory -> Path.of(directory, name))
                        .filter(file -> Files.isExecutable(file) && !Files.isDirectory(file));
    }

    /** Gives the program the locale in which the user started this command. */
    public static void restoreLocale(Map<String, String> environment) {
        Optional.ofNullable(System.getProperty(LOCALE)).ifPresent(locale -> {
            environment.remove(LC_ALL);
            if (!locale.isEmpty()) {
                environment.put(LC_ALL, locale);
            }
        });
    }

    /**
     * Starts the program of {@code builder}. If pipe(2) fails, ProcessBuilder closes descriptors whose numbers it reads
     * from uninitialized memory ({@code childenv} in ProcessImpl_md.c of JDK 17 to 25), such as that of Java's own
     * classes: the next class is then read as garbage, and the JVM may end by SIGSEGV.
     *
     * @throws IOException with one sentence, while Java's own message may have many lines
     */
    public static Process start(ProcessBuilder builder) throws IOException {
        try (Undo undo = new Undo()) {
            for (int i = 0; i < DESCRIPTORS; i++) {
                undo.add(new FileInputStream("/dev/null"));
            }
        } catch (FileNotFoundException e) {
            throw new IOException(
                    "it needs " + DESCRIPTORS + " more open files, which gives \"" + e.getMessage()
                            + "\"; raise the limit on open files (ulimit -n)",
                    e);
        }
        try {
            return builder.start();
        } catch (IOException e) {
            throw new IOException(
                    String.valueOf(e.getMessage()).lines().findFirst().orElse("no reason"), e);
        }
    }

    /** @return its exit code */
    public static int waitFor(Process process) {
        while (true) {
            try {
                return process.waitFor();
            } catch (InterruptedException e) {
                // The main thread is never interrupted; only the end of the program ends the loop.
            }
        }
    }
}
