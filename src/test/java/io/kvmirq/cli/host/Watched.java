/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;

/** A host before and after a change, and its trace; its clock stands still but for the wait. */
final class Watched implements LiveHost {
    private final RecordedHost host;
    private final Known<Tracing> tracing;
    private HostFiles now;
    private long nanos;

    /** The sentences about what killed runs left. */
    List<String> tidied = List.of();

    /** The threads whose tracepoints were asked for. */
    Set<Integer> asked = Set.of();

    Optional<Known<Probes>> probes = Optional.empty();
    Runnable change = () -> {};

    Watched(RecordedHost host, Known<Tracing> tracing) {
        this.host = host;
        this.now = host.tree();
        this.tracing = tracing;
    }

    @Override
    public HostFiles files() {
        return now;
    }

    @Override
    public List<String> tidy() {
        return tidied;
    }

    @Override
    public Known<Tracing> tracing() {
        return tracing;
    }

    @Override
    public Known<Tracing> tracing(Set<Integer> threads) {
        asked = threads;
        return tracing;
    }

    @Override
    public Optional<Known<Probes>> probes(Set<Integer> threads) {
        return probes;
    }

    @Override
    public long nanos() {
        return nanos;
    }

    @Override
    public Duration cpu() {
        return Duration.ofMillis(100 + nanos / 500_000_000);
    }

    @Override
    public void await(CountDownLatch early, int seconds) {
        nanos += Duration.ofSeconds(seconds).toNanos();
        now = host.tree();
        change.run();
        now = host.tree();
    }

    /** Runs list or explain on a host; explain without the name of a command. */
    static Cli.Ended run(LiveHost host, String... arguments) {
        boolean named = arguments.length > 0 && List.of("list", "explain").contains(arguments[0]);
        List<String> all = new ArrayList<>(named ? List.of() : List.of("explain"));
        all.addAll(List.of(arguments));
        return Cli.run(
                Terminal.DEFAULT_COLUMNS,
                List.of(
                        new Commands.Named(Commands.Audience.ALL, "explain", "", new ExplainCommand(host)),
                        new Commands.Named(Commands.Audience.ALL, "list", "", new ListCommand(host))),
                all.toArray(String[]::new));
    }
}
