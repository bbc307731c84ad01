/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A program whose guest runs for ever ends as any Java program does: no thread in KVM_RUN holds it. */
@RealKvm(fullIrqchip = true)
class ForgottenVcpuTest {
    private static final int SIGTERM = 128 + 15;
    private static final List<String> GUESTS = List.of("halts", "loops");

    private static void assumeHere(String binding) {
        assumeTrue(!binding.equals("ffm") || Runtime.version().feature() >= 22, "FFM needs Java 22");
    }

    private static Process started(String binding, String way, String guest) throws IOException {
        return JavaProcess.start(List.of(), ForgottenVcpuUser.class, binding, way, guest);
    }

    private static void assertEnds(Process process, int code, String said) throws Exception {
        try {
            CompletableFuture<String> rest = CompletableFuture.supplyAsync(() -> rest(process));
            assertThat(rest.get(1, TimeUnit.MINUTES)).startsWith(said + "\n");
            assertThat(process.waitFor()).isEqualTo(code);
        } finally {
            process.destroyForcibly();
        }
    }

    /** Until the process ends. */
    private static String rest(Process process) {
        try {
            return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna", "jnr", "ffm"})
    void programOfDaemonThreadsEndsWithMain(String binding) throws Exception {
        assumeHere(binding);
        for (String guest : GUESTS) {
            assertEnds(started(binding, "daemon", guest), 0, "runs");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna", "jnr", "ffm"})
    void exitEndsAnyThread(String binding) throws Exception {
        assumeHere(binding);
        for (String guest : GUESTS) {
            assertEnds(started(binding, "exit", guest), 3, "runs");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna", "jnr", "ffm"})
    void exceptionOfTheVmmEndsTheRunByClosingTheVcpu(String binding) throws Exception {
        assumeHere(binding);
        for (String guest : GUESTS) {
            assertEnds(started(binding, "throws", guest), 1, "runs");
        }
    }

    /** As Ctrl-C does. */
    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna", "jnr", "ffm"})
    void shutdownHookEndsTheRun(String binding) throws Exception {
        assumeHere(binding);
        for (String guest : GUESTS) {
            Process process = started(binding, "signal", guest);
            assertThat(process.getInputStream().readNBytes("runs\n".length()))
                    .asString()
                    .isEqualTo("runs\n");
            process.toHandle().destroy(); // unlike destroy() of the Process, it leaves the streams open
            assertEnds(process, SIGTERM, "ended by INTR");
        }
    }
}
