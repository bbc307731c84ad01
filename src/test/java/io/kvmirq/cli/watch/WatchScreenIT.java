/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.CliScreen;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The screen of {@code kvmirq watch} on a pseudo-terminal that changes its size while keys are typed. */
class WatchScreenIT {
    private CliScreen screen;

    @SuppressWarnings("NullAway.Init")
    WatchScreenIT() {}

    @BeforeEach
    void start() throws IOException {
        Machine.assumeProgram("stty");
        screen = CliScreen.of(Cli.launcher(), 80, "watch", "--fake", "vtd-posting", "--interval", "0.1");
        screen.await("by rate");
    }

    @AfterEach
    void end() {
        screen.close();
    }

    /** Another size: the screen is drawn as a whole, and not only the changed middle of a line. */
    private void resize(int columns, int rows) throws IOException, InterruptedException {
        screen.resize(columns, rows);
        screen.await("kvmirq watch --fake");
    }

    /** The terminal shows what it showed before the screen, and the summary. */
    private void assertLeft() throws IOException {
        screen.await("watched for ");
        assertThat(screen.lines()).noneMatch(line -> line.contains("kvmirq watch"));
    }

    @Test
    void keysWorkWhileTheSizeChanges() throws IOException, InterruptedException {
        screen.type("s");
        screen.await("by name");
        screen.type("?");
        screen.await("c  rates by CPU");
        resize(100, 30);
        screen.type("?/zzz\r");
        screen.await("no row matches");
        resize(40, 5);
        resize(120, 24);
        screen.type("p");
        screen.await("PAUSED");
        resize(40, 3);
        screen.type("q");
        assertLeft();
        assertThat(screen.end()).isZero();
    }

    @Test
    void changesArePrintedWithoutInputOfATerminal() throws IOException, InterruptedException {
        assertThat(Cli.launcher()
                        .under("sh", "-c", "exec \"$0\" \"$@\" < /dev/null")
                        .onTerminal(80)
                        .execute("watch", "--fake", "vtd-posting", "--interval", "0.1", "--count", "1"))
                .isEqualTo(new Cli.Ended(0, "watched for 0 s, 0 changes\n", ""));
    }

    @Test
    void signalLeavesTheScreen() throws IOException, InterruptedException {
        Program.signal("TERM", screen.java().pid());
        assertLeft();
        assertThat(screen.end()).isEqualTo(Cli.ENDED_BY_SIGTERM);
    }

    @Test
    void interruptLeavesTheScreen() throws IOException, InterruptedException {
        // As a shell sets it for a command in the background, so that Ctrl-C never ends one.
        boolean ignored = Files.readAllLines(Path.of("/proc/" + screen.java().pid() + "/status")).stream()
                .anyMatch(line -> line.matches("SigIgn:\\s+[0-9a-f]*[2367abef]"));
        assumeFalse(ignored, "needs SIGINT, which whoever started this run ignores");
        screen.type("\003");
        assertLeft();
        assertThat(screen.end()).isZero();
    }
}
