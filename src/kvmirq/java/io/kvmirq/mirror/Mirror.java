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
 * Predicts the state of a VM's device interrupts from reported events. Events are queued until the next {@link #now} or
 * {@link #irq}, which applies them all, so a mirror that is rarely queried computes few predictions. If no event came
 * since the last query, and no watched vCPU entered or left KVM_RUN, a query takes no lock and does not allocate.
 * Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="mirror"}
 */
public final class Mirror {
    /** The number of stored event lists above which they are folded without waiting for a query. */
    private static final int MOST_WAITING = 256;

    private final State state;
    private final Watches watches = new Watches();
    /** Whether predictions for this host depend on the vCPUs' schedule. */
    private final boolean followsVcpus;
    /** The lists of events that are not folded into the state yet. Guarded by this. */
    private final Deque<Iterator<Event>> waiting = new ArrayDeque<>();
    /** Whether all events are folded into the state. */
    private volatile boolean current = true;
    /** Whether the VM has a message with a logical destination, so that LAPICs must be sampled. */
    private volatile boolean asks;
    /** The current snapshot. Null after an event until the next {@link #now}. */
    private volatile @Nullable Snapshot now;

    private Mirror(MirrorHost host) {
        this.state = new State(host);
        this.followsVcpus = host instanceof MirrorHost.X86;
    }

    /** Creates a mirror for a new VM, in which nothing is set up. */
    @NotPromised
    public static Mirror create(MirrorHost host) {
        Objects.requireNonNull(host, "host is null");
        return new Mirror(host);
    }

    /** Applies an event. Report each event after its kernel call has succeeded, in the order of the calls. */
    @NotPromised
    public void apply(Event event) {
        Objects.requireNonNull(event, "event is null");
        apply(List.of(event));
    }

    /** Applies events in order. A snapshot shows all of them or none. */
    @NotPromised
    public synchronized void apply(List<? extends Event> events) {
        Objects.requireNonNull(events, "events is null");
        followVcpus(); // a vCPU that left KVM_RUN before these events did so in the state before them
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

    /**
     * Folds phase changes of watched vCPUs. Marks the state as stale before reading the phases, because {@link #now}
     * reads both in the opposite order.
     */
    private void followVcpus() {
        if (!watches.isCurrent()) {
            current = false;
            now = null;
            waiting.add(watches.changes().iterator());
        }
    }

    /** Folds the stored events. If an event throws, the next call continues after it. */
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
     * Returns a snapshot of the predicted state, which later events do not change. The first call after an event, or
     * after a watched vCPU changed its phase, copies the references to all predictions.
     */
    public Snapshot now() {
        Snapshot known = watches.isCurrent() ? now : null;
        Snapshot found = known == null ? takeSnapshot() : known;
        ask();
        return found;
    }

    /** Requests LAPIC samples, which a later query finds. */
    private void ask() {
        if (asks) {
            watches.askForLapics();
        }
    }

    private synchronized Snapshot takeSnapshot() {
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

    /**
     * The current prediction for an eventfd. For a shared eventfd, it is the one that {@link Snapshot#of} returns. If
     * {@link #apply(List)} runs at the same time, the prediction may reflect only some of its events.
     */
    public Optional<PredictedIrq> irq(EventFdId event) {
        Objects.requireNonNull(event, "event is null");
        if (!watches.isCurrent() || !current) {
            foldNow();
        }
        ask();
        return state.at(event).irq();
    }
}
