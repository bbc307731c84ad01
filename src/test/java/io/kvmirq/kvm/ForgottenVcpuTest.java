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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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
            assertThat(rest.get()).startsWith(said + "\n");
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

    /** Daemon threads end with main, System.exit ends any thread, an exception of the VMM closes the vCPU. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            jni | daemon | 0
            jni | exit   | 3
            jni | throws | 1
            jna | daemon | 0
            jna | exit   | 3
            jna | throws | 1
            jnr | daemon | 0
            jnr | exit   | 3
            jnr | throws | 1
            ffm | daemon | 0
            ffm | exit   | 3
            ffm | throws | 1
            """)
    void endOfTheProgramEndsTheRun(String binding, String way, int code) throws Exception {
        assumeHere(binding);
        List<Process> both = List.of(started(binding, way, "halts"), started(binding, way, "loops"));
        try {
            for (Process process : both) {
                assertEnds(process, code, "runs");
            }
        } finally {
            both.forEach(Process::destroyForcibly);
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
