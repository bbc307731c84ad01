/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.PageFormat;
import io.kvmirq.host.trace.ProbeCounts;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.host.trace.TraceReader;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;

/** A host that is watched for a while. For one thread; {@link #endEarly} and {@link #close} may come from any. */
public abstract class Watch implements AutoCloseable {
    static final Tracing.Lost NONE = new Tracing.Lost(0, 0);

    final LiveHost machine;
    final List<String> notes;
    /** Facts that could not be watched. */
    final List<Known.Unknown<?>> missing = new ArrayList<>();
    /** Formats of the chosen events, by their names. */
    final Map<String, EventFormat> formats = new LinkedHashMap<>();

    /** Events of all instances. */
    final TraceReader reader = new TraceReader();

    private final List<Runnable> open = new CopyOnWriteArrayList<>();
    private final CountDownLatch early = new CountDownLatch(1);

    Watch(LiveHost machine) {
        this.machine = machine;
        this.notes = new ArrayList<>(machine.tidy());
    }

    /** Closes it if a step of its begin throws. */
    final void begin(Runnable steps) {
        boolean begun = false;
        try {
            steps.run();
            begun = true;
        } finally {
            if (!begun) {
                close();
            }
        }
    }

    /** Waits for the length of the watch, or until {@link #endEarly} is called. */
    public final void await(int seconds) throws InterruptedException {
        machine.await(early, seconds);
    }

    public final void endEarly() {
        early.countDown();
    }

    /** Removes its instances of tracefs from the host. */
    @Override
    public final void close() {
        reader.close();
        open.forEach(Runnable::run);
    }

    /** Closes an instance at the end. */
    final Optional<Tracing> open(Known<Tracing> tracing) {
        tracing.known().ifPresent(found -> open.add(found::close));
        return known(tracing);
    }

    /** Closes the probes at the end. */
    final Optional<Probes> count(Known<Probes> probes) {
        probes.known().ifPresent(found -> open.add(found::close));
        return known(probes);
    }

    /** The counts of probes. Empty if they cannot be read. */
    final Optional<ProbeCounts> counts(Probes probes) {
        Optional<ProbeCounts> counts = known(probes.read());
        counts.ifPresent(found -> {
            notes.addAll(found.missing());
            if (found.missed() > 0) {
                notes.add("the probes and their histograms missed " + found.missed()
                        + " events, so each count is a lower bound");
            }
        });
        return counts;
    }

    final void choose(Tracing own, String event, String filter) {
        known(own.choose(event, filter)).ifPresent(format -> formats.put(format.name(), format));
    }

    /**
     * Begins to record what was chosen.
     *
     * @param sink takes the events
     */
    final boolean start(Tracing own, TraceReader.Sink sink) {
        Optional<PageFormat> form = known(own.start());
        form.ifPresent(pages -> reader.add(own, pages, formats.values(), sink));
        return form.isPresent();
    }

    final void readToEnd() {
        reader.end().ifPresent(why -> known(new Known.Unknown<>("the trace could not be read to its end: " + why, "")));
    }

    /** Ends an instance. Empty if that failed. */
    final Optional<Tracing.Lost> stop(Optional<Tracing> own) {
        return own.isEmpty() ? Optional.of(NONE) : known(own.get().stop());
    }

    private <T> Optional<T> known(Known<T> fact) {
        if (fact instanceof Known.Unknown<T> unknown && !missing.contains(unknown)) {
            missing.add(unknown);
        }
        return fact.known();
    }
}
