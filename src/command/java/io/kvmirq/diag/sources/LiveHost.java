/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.trace.Btf;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.host.trace.TraceInstance;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A host that can be watched for a while: its files, its tracepoints and its clock. */
public interface LiveHost {
    /** Host files, read at each access. */
    HostFiles files();

    /** Removes instances and probes of killed runs; returns a sentence for each. */
    List<String> tidy();

    /** Begins to use its tracepoints. */
    default Known<Tracing> tracing() {
        return tracing(Set.of());
    }

    /** Begins to use the tracepoints that some threads pass, beside {@link #tracing}. */
    Known<Tracing> tracing(Set<Integer> threads);

    /**
     * Begins to count by probes.
     *
     * @param threads those of the guests that are watched
     * @return empty for a machine that is not this one
     */
    default Optional<Known<Probes>> probes(Set<Integer> threads) {
        return Optional.empty();
    }

    /** The memory of its kernel, to be closed; none for a machine that is not this one. */
    default KernelPaths memory() {
        return KernelPaths.none();
    }

    /** A clock, in nanoseconds. */
    long nanos();

    /** The CPU time of all threads of this process until now. */
    Duration cpu();

    /** Waits until {@code early} is zero, but no longer than some seconds. */
    void await(CountDownLatch early, int seconds) throws InterruptedException;

    /** The machine that this process runs on. */
    static LiveHost thisMachine() {
        Known<Path> tracefs = TraceInstance.mounted();
        return new LiveHost() {
            @Override
            public HostFiles files() {
                return HostFiles.at(Path.of("/"));
            }

            @Override
            public List<String> tidy() {
                return tracefs.known().stream()
                        .flatMap(path -> Stream.of(Probes.removeLeft(path), TraceInstance.removeLeft(path)))
                        .flatMap(List::stream)
                        .toList();
            }

            @Override
            public Known<Tracing> tracing(Set<Integer> threads) {
                if (tracefs instanceof Known.Unknown<Path> unknown) {
                    return unknown.typed();
                }
                return TraceInstance.create(tracefs.known().orElseThrow(), threads);
            }

            @Override
            public Optional<Known<Probes>> probes(Set<Integer> threads) {
                return tracefs.known()
                        .map(path -> Probes.set(
                                path, Btf.read(files(), "kvm"), Btf.read(files(), "vfio_pci_core"), threads));
            }

            @Override
            public KernelPaths memory() {
                return KernelPaths.ofThisMachine();
            }

            @Override
            public long nanos() {
                return System.nanoTime();
            }

            @Override
            public Duration cpu() {
                return ProcessHandle.current().info().totalCpuDuration().orElse(Duration.ZERO);
            }

            @Override
            public void await(CountDownLatch early, int seconds) throws InterruptedException {
                early.await(seconds, TimeUnit.SECONDS);
            }
        };
    }
}
