/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Coprocess;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The cost of reading {@code /proc/interrupts} and finding VFIO's irqs in it: the file of this machine, and one of 4096
 * irqs and 512 CPUs, beside a program in C that only reads it, or that also adds up its numbers digit by digit. {@code make
 * bench T=interrupts} runs it.
 *
 * <p>The program is {@code src/test/native/interrupts.c}.
 */
final class InterruptsBench {
    private static final int ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 8;
    private static final Path OF_THIS_MACHINE = Path.of("/proc/interrupts");
    private static final int IRQS = 4096;
    private static final int CPUS = 512;
    private static final String NONE = "         0 ";
    private static final int TIMES = 20;

    private enum Op {
        READ("read", "Java, read and parse / C, read"),
        SUM("sum", "Java, read and parse / C, read and add up each number");

        private final String word;
        private final String title;

        Op(String word, String title) {
            this.word = word;
            this.title = title;
        }
    }

    private InterruptsBench() {}

    /** @param arguments the program */
    public static void main(String[] arguments) throws IOException {
        // Memory, so that no disk is measured.
        Path memory = Path.of("/dev/shm");
        Path large = Files.createTempFile(Files.isWritable(memory) ? memory : Path.of("."), "kvmirq", ".interrupts");
        try {
            write(large);
            compare(arguments[0], OF_THIS_MACHINE, "this machine's", TIMES);
            compare(arguments[0], large, IRQS + " irqs, " + CPUS + " CPUs", 1);
        } finally {
            Files.delete(large);
        }
    }

    private static void compare(String program, Path file, String name, int times) throws IOException {
        Bench bench = new Bench("interrupts");
        try (Coprocess c = new Coprocess(List.of(program, file.toString()))) {
            Rounds.of(Op.values(), bench.warmUp(WARM_UP_ROUNDS), op -> java(file, times), op -> c.time(op.word, times));
            bench.measure(
                    Op.values(),
                    ROUNDS,
                    op -> java(file, times),
                    op -> c.time(op.word, times),
                    op -> new Bench.Title(name + ": " + op.title, Goal.none()));
        }
    }

    private static double java(Path file, int times) {
        long start = System.nanoTime();
        for (int i = 0; i < times; i++) {
            try (InputStream in = Files.newInputStream(file)) {
                HostInterrupts.read(in);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return (double) (System.nanoTime() - start) / times;
    }

    /** As the kernel prints it; every tenth count is not 0. */
    private static void write(Path file) throws IOException {
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            out.write(IntStream.range(0, CPUS)
                    .mapToObj(cpu -> String.format(Locale.ROOT, "%-11s", "CPU" + cpu))
                    .collect(Collectors.joining("", "           ", "\n")));
            for (int irq = 0; irq < IRQS; irq++) {
                StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "%4d: ", irq));
                for (int cpu = 0; cpu < CPUS; cpu++) {
                    line.append((irq + cpu) % 10 == 0 ? String.format(Locale.ROOT, "%10d ", irq * cpu) : NONE);
                }
                out.write(line + " IR-PCI-MSIX-0000:3b:00.0 " + irq + "-edge      vfio-msix[" + irq % 2048
                        + "](0000:3b:00.0)\n");
            }
        }
    }
}
