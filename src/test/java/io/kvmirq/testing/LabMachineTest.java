/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The end of a virtual machine of the lab, by processes that stand for QEMU. */
@Tag("long")
class LabMachineTest {
    /** A machine with a monitor that prints what it is asked. It ends with the shell. */
    private static final String MACHINE = """
            . scripts/lab/boot
            out=$1 limit=100 seeds=0 stalled=1000 look=1
            mkfifo "$out/monitor.in" "$out/monitor.out"
            exec 3<> "$out/monitor.out" 4<> "$out/monitor.in"
            cat <&4 >&3 &
            monitor=$!
            trap 'kill $monitor $machine 2> /dev/null' EXIT
            """;

    private static final String SPINS = "bash -c 'while :; do :; done' & machine=$!\n";
    private static final String SLEEPS = "sleep 1000 & machine=$!\n";
    private static final String WATCHED = "watch \"$out\" $machine; wait $machine || echo ended\n";
    private static final String REACHED = "echo lab-kernel:6.1 > \"$out/console.log\"\n";

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    /** The output of a script of bash until all that it started has ended. */
    private String said(Process process) throws Exception {
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return said.strip();
    }

    private Process bash(String script) throws Exception {
        return new ProcessBuilder("bash", "-c", script, "lab", directory.toString())
                .directory(Machine.root().toFile())
                .redirectErrorStream(true)
                .start();
    }

    private void assertEnded(String setUp, String machine, String why) throws Exception {
        Files.writeString(directory.resolve("console.log"), "");
        assertThat(said(bash(MACHINE + setUp + machine + WATCHED))).endsWith("ended");
        assertThat(directory.resolve("ended"))
                .hasContent(why + "; its processors are in " + directory + "/processors.log\n");
        assertThat(directory.resolve("processors.log")).content().contains("info registers -a", "info lapic", "nmi");
    }

    @Test
    void limitOfProcessorTimeLeavesItsProcessors() throws Exception {
        assertEnded(REACHED + "limit=1\n", SPINS, "it ended no class of tests within 1 s of processor time");
    }

    @Test
    void startThatTakesTooLongLeavesItsProcessors() throws Exception {
        assertEnded("start_limit=1\n", SPINS, "it did not reach its tests within 1 s of processor time");
    }

    @Test
    void silenceLeavesItsProcessors() throws Exception {
        assertEnded(REACHED + "stalled=-119\n", SLEEPS, "it printed nothing for 1 s");
    }

    @Test
    void waitingForAProcessorIsNoSilence() throws Exception {
        String aged = ". scripts/lab/boot; aged 5000 0 0; aged 5000 250 4750; aged 5000 10 40; aged 5000 0 9000";
        assertThat(said(bash(aged)).lines()).containsExactly("5000", "250", "5000", "0");
    }

    /** A process that is left would print, and {@code cat} waits for it. */
    @Test
    void signalEndsAllThatWasStarted() throws Exception {
        Files.writeString(directory.resolve("run"), """
                . scripts/lab/boot
                set -m
                trap 'exit 143' TERM
                trap end_jobs EXIT
                mkfifo "$1/started"
                (bash -c 'sleep 30; echo left' & echo started > "$1/started"; wait) &
                read -r < "$1/started"
                kill -TERM $$
                wait
                """);
        assertThat(said(bash("bash \"$1/run\" \"$1\" | cat; echo ${PIPESTATUS[0]}")))
                .isEqualTo("143");
    }
}
