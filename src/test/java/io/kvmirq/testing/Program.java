/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Another program, run to its end. */
public final class Program {
    private Program() {}

    /** What the program printed, errors included, and its exit code. */
    public record Ended(int code, String said) {}

    public static Ended run(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Ended(process.waitFor(), said);
    }

    /** Sends a signal, by its name without SIG. The shell has its own kill: a minimal Debian has no such program. */
    public static void signal(String name, long pid) throws IOException, InterruptedException {
        output(List.of("sh", "-c", "kill -" + name + " " + pid));
    }

    /** Whether a process runs. Java also calls one alive that has ended, and for which its parent has not waited. */
    public static boolean runs(long pid) {
        return stat(pid).map(fields -> !fields[0].equals("Z")).orElse(false);
    }

    /** The fields of {@code /proc/PID/stat} behind the name, the state first. Empty if there is no such process. */
    static Optional<String[]> stat(long pid) {
        try {
            String stat = Files.readString(Path.of("/proc", Long.toString(pid), "stat"));
            // The name is in parentheses and may have spaces.
            return Optional.of(stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /** What the program printed, errors included; fails the test unless it succeeds. */
    public static String output(List<String> command) throws IOException, InterruptedException {
        Ended ended = run(command);
        assertThat(ended.code)
                .as(() -> String.join(" ", command) + " said: " + ended.said)
                .isZero();
        return ended.said;
    }
}
