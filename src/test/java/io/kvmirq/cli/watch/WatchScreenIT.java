/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The screen of {@code kvmirq watch} on a pseudo-terminal that changes its size while keys are typed. */
class WatchScreenIT {
    private static final String END = "\033[?1049l";

    private final StringBuilder read = new StringBuilder();
    private Process watch;
    private Path terminal;

    @SuppressWarnings("NullAway.Init")
    WatchScreenIT() {}

    @BeforeEach
    void start() throws IOException {
        Machine.assumeProgram("stty");
        watch = Cli.launcher().onTerminal(80).start("watch", "--fake", "vtd-posting", "--interval", "0.1");
        await("by rate");
        terminal = Path.of("/proc/" + java().pid() + "/fd/0").toRealPath();
    }

    private ProcessHandle java() {
        return watch.descendants()
                .filter(one -> one.info().command().orElse("").endsWith("/java"))
                .findFirst()
                .orElseThrow();
    }

    @AfterEach
    void end() throws InterruptedException {
        watch.descendants().forEach(ProcessHandle::destroyForcibly);
        watch.destroyForcibly().waitFor();
    }

    /** Reads until the terminal has got a text since the last one. */
    private void await(String text) throws IOException {
        InputStream out = watch.getInputStream();
        byte[] bytes = new byte[4096];
        while (read.indexOf(text) < 0) {
            int count = out.read(bytes);
            assertThat(count).as("%s after %s", text, read).isPositive();
            read.append(new String(bytes, 0, count, StandardCharsets.UTF_8));
        }
        read.delete(0, read.indexOf(text) + text.length());
    }

    private void type(String keys) throws IOException {
        watch.getOutputStream().write(keys.getBytes(StandardCharsets.UTF_8));
        watch.getOutputStream().flush();
    }

    /** Another size: the screen is drawn as a whole, and not only the changed middle of a line. */
    private void resize(int columns, int rows) throws IOException, InterruptedException {
        Program.output(List.of("stty", "-F", terminal.toString(), "cols", "" + columns, "rows", "" + rows));
        await("kvmirq watch --fake");
    }

    @Test
    void keysWorkWhileTheSizeChanges() throws IOException, InterruptedException {
        type("s");
        await("nam");
        type("?");
        await("rates by C");
        resize(100, 30);
        type("?/zzz\r");
        await("that is seen has it");
        resize(40, 5);
        resize(120, 24);
        type("p");
        await("PAUSED");
        resize(40, 3);
        type("q");
        await(END + "watched for ");
        assertThat(watch.waitFor()).isZero();
    }

    @Test
    void changesArePrintedWithoutInputOfATerminal() throws IOException, InterruptedException {
        assertThat(Cli.launcher()
                        .under("sh", "-c", "exec \"$0\" \"$@\" < /dev/null")
                        .onTerminal(80)
                        .execute("watch", "--fake", "vtd-posting", "--interval", "0.1", "--count", "1"))
                .isEqualTo(new Cli.Ended(0, "watched for 0 s: 0 changes\n", ""));
    }

    @Test
    void signalLeavesTheScreen() throws IOException, InterruptedException {
        Program.signal("TERM", java().pid());
        await(END);
        assertThat(watch.waitFor()).isEqualTo(Cli.ENDED_BY_SIGTERM);
    }

    @Test
    void interruptLeavesTheScreen() throws IOException, InterruptedException {
        type("\003");
        await(END);
        assertThat(watch.waitFor()).isZero();
    }
}
