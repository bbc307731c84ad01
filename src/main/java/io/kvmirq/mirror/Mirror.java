/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.List;

/**
 * The predicted state of the device interrupts of one VM: see the package. Thread-safe. {@link #apply} takes a lock;
 * {@link #now} takes none and does not allocate.
 */
public final class Mirror {
    private final State state;
    private volatile Snapshot now;

    private Mirror(MirrorHost host) {
        this.state = new State(host);
        this.now = state.snapshot();
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
        now = state.snapshot();
    }

    /** The state now. It does not change when more events come. */
    public Snapshot now() {
        return now;
    }
}
