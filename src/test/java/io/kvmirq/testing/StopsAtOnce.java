/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** A launcher or tracer that does nothing, so that its command can be killed while it starts. */
public final class StopsAtOnce {
    private static final String SOURCE = """
        #include <signal.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        int main(void)
        {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (; write(1, "ready\\n", 6) == 6; pause())
                ;
        }
        """;

    private StopsAtOnce() {}

    /** Its file, in a directory. */
    public static Path compiled(Path directory) throws Exception {
        Path source = Files.writeString(directory.resolve("stops.c"), SOURCE);
        Path program = directory.resolve("stops");
        Machine.compile("-o", program.toString(), source.toString());
        return program;
    }

    /** Kills the command when it has started the program. */
    public static void killed(Process command) throws Exception {
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(command.getInputStream(), StandardCharsets.UTF_8))) {
            assertThat(out.readLine()).isEqualTo("ready");
            command.toHandle().destroyForcibly();
            command.waitFor();
        }
    }
}
