/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.Kernel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/**
 * {@code main}: for how many minutes. Threads run whole VMMs on this machine's KVM, round after round; between the rounds,
 * when all VMs are closed, memory, descriptors, threads and the kernel's slabs are counted. Exit code 1: an interrupt was
 * lost or a figure grows; 2: no number of minutes; 3: no KVM.
 */
final class Soak {
    private static final int THREADS = 8;
    /** The load of each thread in a round: some 100 000 interrupts. */
    private static final Storm.Load ROUND = new Storm.Load(4_000, 4, 2);
    /** Rounds that load classes and fill caches. */
    private static final int WARM_UP_ROUNDS = 2;

    private static final Path DESCRIPTORS = Path.of("/proc/self/fd");
    private static final Path SLABS = Path.of("/proc/slabinfo");

    /** Reads a figure between two rounds. */
    interface Figure {
        double read() throws IOException;
    }

    private final List<String> bindings;
    private final int threads;
    private final Storm.Load load;
    private final Map<Trend, Figure> figures = new LinkedHashMap<>();
    private long interrupts;
    private int rounds;

    Soak(List<String> bindings, int threads, Storm.Load load) {
        this.bindings = bindings;
        this.threads = threads;
        this.load = load;
        figure("heap, KiB", 64, () -> heap() / 1024.0);
        figure("direct memory, KiB", 1, () -> direct() / 1024.0);
        figure("descriptors", 0.02, () -> entries(DESCRIPTORS));
        figure("threads", 0.02, () -> ManagementFactory.getThreadMXBean().getThreadCount());
        // A figure of the whole machine: other programs have files too.
        figure("slab filp", 100, () -> slab("filp"));
        figure("slab kvm_vcpu", 0.02, () -> slab("kvm_vcpu"));
    }

    final void figure(String name, double bound, Figure value) {
        figures.put(new Trend(name, bound), value);
    }

    public static void main(String[] arguments) throws Exception {
        int minutes = minutes(arguments);
        List<String> usable = usable();
        if (minutes <= 0 || usable.isEmpty()) {
            System.err.println(
                    minutes <= 0
                            ? "soak: MINUTES=" + arguments[0] + " is not a number from 1 up: type make soak MINUTES=30"
                            : "soak: this machine's KVM cannot be used: run it as root on a host with /dev/kvm");
            System.exit(minutes <= 0 ? 2 : 3);
        }
        Soak soak = new Soak(usable, THREADS, ROUND);
        boolean right = soak.run(minutes);
        System.out.println(soak);
        System.exit(right ? 0 : 1);
    }

    private static int minutes(String... arguments) {
        try {
            return Integer.parseInt(arguments[0]);
        } catch (NumberFormatException e) {
            return 0;
        }
    }

    private static List<String> usable() {
        List<String> usable = new ArrayList<>();
        for (String binding : List.of("jni", "ffm", "jna", "jnr")) {
            try {
                Kernel.over(Backends.ofThisMachine().open(binding)).close();
                usable.add(binding);
            } catch (BackendUnavailableException e) {
                System.err.println("soak: without " + binding + ": " + e.getMessage());
            }
        }
        return usable;
    }

    /** Whether each interrupt arrived once, and no figure grows. Runs for longer if a slope needs more rounds. */
    boolean run(double minutes) throws Exception {
        long begin = System.nanoTime();
        ExecutorService executor = Executors.newFixedThreadPool(threads);
        try {
            for (double minute = 0;
                    minute < minutes || rounds < WARM_UP_ROUNDS + 2 * Trend.FEWEST;
                    minute = (System.nanoTime() - begin) / 60e9) {
                round(executor);
                sample((System.nanoTime() - begin) / 60e9);
            }
        } finally {
            executor.shutdown();
        }
        return figures.keySet().stream().noneMatch(Trend::grows);
    }

    /** A lost interrupt is an AssertionError of the storm. */
    private void round(ExecutorService executor) throws Exception {
        List<Callable<Long>> storms = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            long seed = (long) rounds * threads + i;
            storms.add(() -> storm(seed));
        }
        for (Future<Long> ended : executor.invokeAll(storms)) {
            interrupts += ended.get();
        }
        rounds++;
    }

    private long storm(long seed) {
        String binding = bindings.get((int) (seed % bindings.size()));
        try (Kernel kernel = Kernel.over(Backends.ofThisMachine().open(binding))) {
            boolean split = seed / bindings.size() % 2 == 1;
            return new Storm(seed, false).run(new StormMachine.Kind(kernel, split, null, null), load);
        } catch (BackendUnavailableException e) {
            throw new IllegalStateException(e);
        }
    }

    private void sample(double minute) throws IOException {
        if (rounds > WARM_UP_ROUNDS) {
            for (Map.Entry<Trend, Figure> figure : figures.entrySet()) {
                figure.getKey().add(minute, figure.getValue().read());
            }
        }
    }

    private static long heap() {
        System.gc();
        return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
    }

    private static long direct() {
        return ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
                .mapToLong(BufferPoolMXBean::getMemoryUsed)
                .sum();
    }

    private static long entries(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.count();
        }
    }

    /** Objects in use; 0 if the kernel merged the slab with another or hides it. */
    private static long slab(String name) {
        try (Stream<String> lines = Files.lines(SLABS)) {
            return lines.map(line -> line.split(" +", -1))
                    .filter(words -> words[0].equals(name))
                    .mapToLong(words -> Long.parseLong(words[1]))
                    .findFirst()
                    .orElse(0);
        } catch (IOException | UncheckedIOException e) {
            return 0;
        }
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        figures.keySet().forEach(trend -> text.append(trend).append('\n'));
        return text + "" + interrupts + " interrupts by " + bindings + " in " + rounds + " rounds of " + threads
                + " VMMs, 0 lost";
    }
}
