/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The resampling irqfds of one GSI. They share one source of the pin, high from a signal until the guest's EOI. The EOI
 * lowers the source and signals every resamplefd, even if a plain irqfd or KVM_IRQ_LINE raised the GSI. Safe for use by
 * any number of threads. Source: {@code irqfd_resampler_ack} and {@code irqfd_resampler_shutdown} of Linux 7.1.
 */
public final class Resampler {
    /** The GSI that the resampling source drives. The resampler calls the method under its own lock. */
    @FunctionalInterface
    public interface Line {
        /** Sets the resampling source of the GSI high or low. This method must not add or remove an irqfd. */
        void drive(boolean high);
    }

    private static final Signal[] NONE = {};

    private final Line line;
    private volatile Signal[] resamplefds = NONE;

    public Resampler(Line line) {
        this.line = line;
    }

    public boolean isEmpty() {
        return resamplefds.length == 0;
    }

    public synchronized void add(Signal resamplefd) {
        Signal[] more = Arrays.copyOf(resamplefds, resamplefds.length + 1);
        more[more.length - 1] = resamplefd;
        resamplefds = more;
    }

    /**
     * Waits for a running {@link #acknowledge}, and removes a resamplefd. If no resamplefd is left, lowers the source
     * and returns true.
     */
    public synchronized boolean remove(Signal resamplefd) {
        List<Signal> left = new ArrayList<>(List.of(resamplefds));
        left.remove(resamplefd);
        resamplefds = left.toArray(Signal[]::new);
        if (isEmpty()) {
            line.drive(false);
        }
        return isEmpty();
    }

    /** Raises the source because an irqfd's eventfd was signalled. Does not allocate. */
    public void raise() {
        line.drive(true);
    }

    /**
     * Handles the guest's EOI: lowers the source, then signals each resamplefd. Then a device may raise the source.
     * {@link #add} and {@link #remove} wait for a running call, like {@code synchronize_srcu}. Does not allocate.
     */
    public synchronized void acknowledge() {
        if (!isEmpty()) {
            line.drive(false);
            signal();
        }
    }

    /** Signals each resamplefd and does not change the source: {@code kvm_notify_irqfd_resampler()}. */
    public synchronized void signal() {
        for (Signal resamplefd : resamplefds) {
            resamplefd.signal();
        }
    }
}
