/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

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

    /** What the program printed, errors included; fails the test unless it succeeds. */
    public static String output(List<String> command) throws IOException, InterruptedException {
        Ended ended = run(command);
        assertThat(ended.code)
                .as(() -> String.join(" ", command) + " said: " + ended.said)
                .isZero();
        return ended.said;
    }
}
