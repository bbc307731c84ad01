/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs that a signal ends. */
class EndingsIT {
    @TempDir
    private Path temporary;

    private static void readUntil(Process process, String text) throws IOException {
        BufferedReader out = process.inputReader(StandardCharsets.UTF_8);
        for (String line = out.readLine(); line != null; line = out.readLine()) {
            if (line.contains(text)) {
                return;
            }
        }
        throw new AssertionError("the command ended before it said '" + text + "'");
    }

    @Test
    @RealKvm
    void interruptStopsTheGuestAndExits130() throws Exception {
        // A test run in the background of a shell has SIGINT ignored, and would hand that on.
        Process process = Cli.launcher()
                .under("env", "--default-signal=INT")
                .start("selftest", "--count", "10000000", "--scenario", "edge");
        readUntil(process, "boot the guest");
        Program.signal("INT", process.pid());
        process.waitFor();
        assertThat(process.exitValue()).isEqualTo(Cli.ENDED_BY_SIGINT);
        assertThat(new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8))
                .isEmpty();
    }

    /** At many moments of its life: no process stays, and at most one unfinished file, which the next start removes. */
    @Test
    @RealKvm
    void killLeavesAtMostAFileThatTheNextStartRemoves() throws Exception {
        Path cache = temporary.resolve("cache");
        String option = "-Dkvmirq.cache=" + cache;
        for (int millis = 20; millis <= 400; millis += 20) {
            Process process = Cli.jvm(option).start("selftest", "--count", "10000000");
            process.waitFor(millis, TimeUnit.MILLISECONDS);
            process.destroyForcibly().waitFor();
            assertThat(processesWith(option)).isEmpty();
            assertThat(unfinished(cache)).hasSizeLessThanOrEqualTo(1);
            forgetFinished(cache);
        }
        Files.createDirectories(cache);
        Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString("rwx------"));
        Files.createFile(cache.resolve("libkvmirq0.tmp"));
        Cli.Ended ended = Cli.jvm(option).execute("selftest", "--scenario", "guestless");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(unfinished(cache)).isEmpty();
    }

    private static List<ProcessHandle> processesWith(String argument) {
        return ProcessHandle.allProcesses()
                .filter(process -> process.info().commandLine().orElse("").contains(argument))
                .toList();
    }

    /** So that each start writes the library anew. */
    private static void forgetFinished(Path cache) throws IOException {
        if (Files.exists(cache)) {
            try (Stream<Path> files = Files.list(cache)) {
                for (Path file :
                        files.filter(file -> file.toString().endsWith(".so")).toList()) {
                    Files.delete(file);
                }
            }
        }
    }

    private static List<Path> unfinished(Path cache) throws IOException {
        if (!Files.exists(cache)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(cache)) {
            return files.filter(file -> file.toString().endsWith(".tmp")).toList();
        }
    }
}
