/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * The resampling irqfds of one GSI. They share one source, which stays high until the guest's EOI. The EOI lowers it and
 * signals every resamplefd, whichever irqfd, plain irqfd or KVM_IRQ_LINE raised the GSI. Safe for use by any number of
 * threads. Source: {@code irqfd_resampler_ack} and {@code irqfd_resampler_shutdown} of Linux 7.1.
 */
public final class Resampler {
    /** The GSI, as the resampling source drives it. */
    @FunctionalInterface
    public interface Line {
        /** Drives the resampling source of the GSI. */
        void drive(boolean high);
    }

    private final Line line;
    private final List<Signal> resamplefds = new CopyOnWriteArrayList<>();

    /** A GSI without resampling irqfds. */
    public Resampler(Line line) {
        this.line = line;
    }

    /** Whether there is no resampling irqfd. */
    public boolean isEmpty() {
        return resamplefds.isEmpty();
    }

    /** Adds a resampling irqfd. */
    public void add(Signal resamplefd) {
        resamplefds.add(resamplefd);
    }

    /**
     * Removes a resampling irqfd. The last one lowers the source.
     *
     * @return whether none is left
     */
    public boolean remove(Signal resamplefd) {
        resamplefds.remove(resamplefd);
        boolean last = resamplefds.isEmpty();
        if (last) {
            line.drive(false);
        }
        return last;
    }

    /**
     * The guest's EOI: lowers the source, then signals each resamplefd. In this order, since a device that asserts again
     * raises the source anew. Does nothing without a resampling irqfd. Does not allocate.
     */
    public void acknowledge() {
        if (isEmpty()) {
            return;
        }
        line.drive(false);
        for (int i = 0; i < resamplefds.size(); i++) {
            resamplefds.get(i).signal();
        }
    }
}
