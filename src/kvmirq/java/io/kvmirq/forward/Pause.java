/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kvm.Irqfd;
import io.kvmirq.undo.Undo;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Holds an interrupt back during a change, which may throw. {@link #close} lets it through again. If that fails, the
 * interrupt stays masked: none is lost, and an unmask retries.
 */
final class Pause implements AutoCloseable {
    private final ForwardedIrq irq;
    private final @Nullable RelayedIrq held;
    private final Phase.Masked masked = new Phase.Masked(false);
    private boolean ends;

    /** @param held the relay; null for an irqfd */
    Pause(ForwardedIrq irq, @Nullable RelayedIrq held) {
        this.irq = irq;
        this.held = held;
    }

    /** @param relay the relay; null for an irqfd */
    static Pause begun(ForwardedIrq irq, @Nullable RelayedIrq relay) {
        try (Undo undo = new Undo()) {
            Pause pause = undo.add(new Pause(irq, relay));
            pause.begin();
            undo.keep();
            return pause;
        }
    }

    /** The held relay; null for an irqfd. */
    @Nullable
    RelayedIrq held() {
        return held;
    }

    void begin() {
        ends = true;
        if (held == null) {
            irq.holdBack(masked);
        } else {
            Irqfd left = irq.irqfd();
            if (left != null) {
                left.mask(); // if undoing a move was refused
            }
            held.hold();
        }
    }

    /** Keeps the interrupt held back after a successful change: the returned mask replaces this pause. */
    Phase.Masked keep() {
        ends = false;
        return masked;
    }

    @Override
    public void close() {
        synchronized (irq.lock()) {
            if (!ends || irq.relay() != held || irq.isEnded()) {
                return;
            }
            if (irq.isMasked()) {
                Objects.requireNonNull(held).release(); // the hold of the mask stays
                return;
            }
            boolean resumed = false;
            try {
                irq.resume(masked);
                resumed = true;
            } finally {
                if (!resumed) {
                    irq.become(masked);
                }
            }
        }
    }
}
