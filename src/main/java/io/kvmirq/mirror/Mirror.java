/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The predicted state of the device interrupts of one VM: see the package. Thread-safe. {@link #irq}
 * takes no lock and does not allocate. {@link #now} takes the lock of {@link #apply} once after each event.
 */
public final class Mirror {
    private final State state;
    /** Null from an event to the next look. */
    private volatile @Nullable Snapshot now;

    private Mirror(MirrorHost host) {
        this.state = new State(host);
    }

    /** A mirror of a VM that nothing is set up for. */
    public static Mirror of(MirrorHost host) {
        return new Mirror(host);
    }

    /** Folds an event into the state. Report an event after its step succeeded, in the order of the steps. */
    public void apply(Event event) {
        apply(List.of(event));
    }

    /** Folds events into the state, in their order. No snapshot shows a part of them. */
    public synchronized void apply(List<? extends Event> events) {
        events.forEach(state::fold);
        now = null;
    }

    /**
     * The state now. It does not change when more events come. The first look after an event copies a reference for
     * each interrupt.
     */
    public Snapshot now() {
        Snapshot known = now;
        return known == null ? taken() : known;
    }

    private synchronized Snapshot taken() {
        Snapshot known = now;
        Snapshot taken = known == null ? state.snapshot() : known;
        now = taken;
        return taken;
    }

    /** The interrupt of an eventfd now, as {@link Snapshot#of}. It may show a part of a list of events. */
    public Optional<PredictedIrq> irq(EventFdId event) {
        return state.at(event).irq();
    }
}
