/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A real kernel that hides its memory. It stays locked down until the lab ends its machine. */
@Tag("contract")
@Tag(RealKvm.TAG)
class HiddenMemoryTest {
    private static final Path POINTERS = Path.of("/proc/sys/kernel/kptr_restrict");
    private static final Path SECURITY = Path.of("/sys/kernel/security");

    @Test
    void commandSaysWhyInOneSentence() throws IOException, InterruptedException {
        assumeTrue(Files.exists(Path.of("/task")), "only a machine of the lab may be locked down");
        KernelMemoryContract.forwarded(TestDevice.EDU, (device, memory, vectors) -> {
            String irq = String.valueOf(vectors.get(0).irq().number());
            int code = Cli.run("explain", irq).exitCode();
            Files.writeString(POINTERS, "2");
            says(
                    irq,
                    code,
                    "/proc/kallsyms shows all addresses as 0: this process lacks CAP_SYSLOG,"
                            + " or kernel.kptr_restrict is 2");
            Files.writeString(POINTERS, "1");
            shows();
            assertThat(new ProcessBuilder("mount", "-t", "securityfs", "none", SECURITY.toString())
                            .inheritIO()
                            .start()
                            .waitFor())
                    .isZero();
            Files.writeString(SECURITY.resolve("lockdown"), "integrity");
            shows();
            Files.writeString(SECURITY.resolve("lockdown"), "confidentiality");
            says(
                    irq,
                    code,
                    "/proc/kcore cannot be read: Operation not permitted (this process lacks CAP_SYS_RAWIO,"
                            + " or the kernel is locked down for confidentiality)");
        });
    }

    private static void shows() {
        assertThat(Cli.run("doctor", "--check", "kernel-memory").exited(0).out())
                .contains("PASS", " 0 differ");
    }

    private static void says(String irq, int code, String sentence) {
        Cli.Ended explained = Cli.run("explain", irq, "--evidence");
        Cli.Ended examined = Cli.run("doctor", "--check", "kernel-memory");
        System.out.println(
                "lab-memory: hidden: explain ended with " + explained.exitCode() + ", " + code + " before; doctor with "
                        + examined.exitCode() + ": " + examined.out().replaceAll("\\s+", " "));
        assertThat(explained.exitCode()).isEqualTo(code);
        assertThat(explained.err()).isEmpty();
        assertThat(explained.out().replaceAll("\\s+", " ")).containsOnlyOnce(sentence);
        assertThat(examined.exited(3).out().replaceAll("\\s+", " ")).contains("UNKNOWN", sentence);
    }
}
