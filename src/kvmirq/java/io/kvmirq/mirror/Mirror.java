/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.NotPromised;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The predicted state of the device interrupts of one VM: see the package. Thread-safe. An event costs a place in a
 * list until the next look, which folds all that have come: a VMM that never looks pays for no prediction. Without an
 * event since the last look, and with the same phases of the vCPUs that it watches, {@link #now} and {@link #irq} take no
 * lock and do not allocate.
 */
public final class Mirror {
    /** More lists of events than this do not wait for a look. */
    private static final int MOST_WAITING = 256;

    private final State state;
    private final Watches watches = new Watches();
    /** Whether the rules of the host know how vCPUs are scheduled. */
    private final boolean followsVcpus;
    /** The rest of each list of events that is not in the state yet. Guarded by this. */
    private final Deque<Iterator<Event>> waiting = new ArrayDeque<>();
    /** Whether the state has all events. */
    private volatile boolean current = true;
    /** Whether the VM has a logical message, so that a look asks for the ids of LAPICs. */
    private volatile boolean asks;
    /** Null from an event to the next look. */
    private volatile @Nullable Snapshot now;

    private Mirror(MirrorHost host) {
        this.state = new State(host);
        this.followsVcpus = host instanceof MirrorHost.X86;
    }

    /** A mirror of a VM without any set-up yet. */
    @NotPromised
    public static Mirror of(MirrorHost host) {
        Objects.requireNonNull(host, "host is null");
        return new Mirror(host);
    }

    /** Folds an event into the state. Report an event after its step succeeded, in the order of the steps. */
    @NotPromised
    public void apply(Event event) {
        Objects.requireNonNull(event, "event is null");
        apply(List.of(event));
    }

    /** Folds events into the state, in their order. No snapshot shows a part of them. */
    @NotPromised
    public synchronized void apply(List<? extends Event> events) {
        Objects.requireNonNull(events, "events is null");
        followVcpus(); // a vCPU that left before these steps found the state before them
        add(List.copyOf(events));
        if (followsVcpus) {
            List<Event> phases = watches.meet(events);
            if (!phases.isEmpty()) {
                add(phases);
            }
        }
        if (waiting.size() > MOST_WAITING) {
            fold();
        }
    }

    private void add(List<Event> events) {
        waiting.add(events.iterator());
        current = false;
        now = null;
    }

    /** The state becomes old before the phases are read: {@link #now} looks at them in the other order. */
    private void followVcpus() {
        if (!watches.isCurrent()) {
            current = false;
            now = null;
            waiting.add(watches.changes().iterator());
        }
    }

    /** An event that throws is left out, and the next look goes on behind it. */
    private synchronized void fold() {
        for (Iterator<Event> next = waiting.peek(); next != null; next = waiting.peek()) {
            while (next.hasNext()) {
                state.fold(next.next());
            }
            waiting.remove();
        }
        asks = followsVcpus && state.hasLogicalMessage();
        current = true;
    }

    /**
     * The state now. It does not change when more events come. The first look after an event, or after a phase of a
     * watched vCPU, copies a reference for each interrupt.
     */
    public Snapshot now() {
        Snapshot known = watches.isCurrent() ? now : null;
        Snapshot found = known == null ? taken() : known;
        ask();
        return found;
    }

    /** The next look finds what was asked for. */
    private void ask() {
        if (asks) {
            watches.askForLapics();
        }
    }

    private synchronized Snapshot taken() {
        followVcpus();
        fold();
        Snapshot known = now;
        Snapshot taken = known == null ? state.snapshot() : known;
        now = taken;
        return taken;
    }

    private synchronized void foldNow() {
        followVcpus();
        fold();
    }

    /** The interrupt of an eventfd now, as {@link Snapshot#of}. It may show a part of a list of events. */
    public Optional<PredictedIrq> irq(EventFdId event) {
        Objects.requireNonNull(event, "event is null");
        if (!watches.isCurrent() || !current) {
            foldNow();
        }
        ask();
        return state.at(event).irq();
    }
}
