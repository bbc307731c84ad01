/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.TinyVmm;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/**
 * Linux boots under a VMM that is written on the library: src/examples/tiny-vmm, with the lab's own kernel. The lab runs it
 * only by name, because it takes minutes.
 */
@RealKvm
class LinuxBootTest {
    private static final Path KERNEL = Path.of("/guest/kernel");
    private static final Path INITRAMFS = Path.of("/guest/initramfs");
    private static final int INTERRUPTS = Math.min(10_000, Integer.getInteger("kvmirq.test.forward.fired", 10_000));
    private static final long LONGEST_SECONDS = 300;

    /** A row of the guest's /proc/interrupts: how many interrupts each of its two processors took. */
    private static long[] row(String console, String name) {
        String row = console.lines()
                .filter(line -> line.matches(" *\\w+:( +\\d+){2} .*" + name))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no row " + name + " in\n" + console));
        return Arrays.stream(row.split(":", 2)[1].strip().split(" +", 3))
                .limit(2)
                .mapToLong(Long::parseLong)
                .toArray();
    }

    @Test
    void debiansKernelBootsOnTwoVcpusAndTakesEveryInterrupt() throws Exception {
        assumeTrue(Files.exists(KERNEL), "needs a kernel that KVM can boot: make lab has one");
        assumeTrue(
                Machine.arm64Flaw().isEmpty() || Machine.irqchipFlaw().isEmpty(),
                "needs KVM's whole irqchip, of x86 or of arm64");
        String interrupts = Integer.toString(INTERRUPTS);
        long since = System.nanoTime();
        TinyVmm.Ended ended;
        try (OutputStream console = console()) {
            ended = TinyVmm.run(
                    console,
                    InputStream.nullInputStream(),
                    "--kernel",
                    KERNEL.toString(),
                    "--initramfs",
                    INITRAMFS.toString(),
                    "--append",
                    "quiet noxsave 8250.nr_uarts=2 interrupts=" + interrupts,
                    "--interrupts",
                    interrupts);
        }
        assertThat(ended.out())
                .contains("the guest turned itself off; " + interrupts + " interrupts sent, " + interrupts
                        + " answered, 0 lost");
        assertThat(ended.status()).isZero();
        assertThat(Arrays.stream(row(ended.out(), "ttyS1")).sum())
                .as("interrupts of the device")
                .isEqualTo(INTERRUPTS);
        // Timer, and IPIs that wake and that call
        String timer = Machine.arm64Flaw().isEmpty() ? "arch_timer" : "Local timer interrupts";
        for (String name : List.of(timer, "Rescheduling interrupts", "Function call interrupts")) {
            assertThat(row(ended.out(), name)).as(name).doesNotContain(0);
        }
        assertThat(TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - since)).isLessThan(LONGEST_SECONDS);
    }

    /** What scripts/lab/boot keeps as guest.log. */
    private static OutputStream console() throws IOException {
        Path kept =
                Path.of(System.getProperty("kvmirq.test.summary"), System.getProperty("kvmirq.test.run") + ".guest");
        return Files.newOutputStream(kept);
    }
}
