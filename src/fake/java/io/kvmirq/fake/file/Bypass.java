/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.explain.IrqfdAnswer;
import org.jspecify.annotations.Nullable;

/**
 * The irqbypass of an eventfd: its producer, a vector of MSI or MSI-X that VFIO has enabled with the eventfd, and its
 * consumer, an irqfd. They are connected while both are there. Source: virt/lib/irqbypass.c, which logs a failure and
 * reports none.
 */
public final class Bypass {
    public interface Consumer {
        /** A producer is there. False if the two do not connect: the one that came second is not registered. */
        boolean connect(Producer producer);

        /** The producer or the consumer goes away. */
        void disconnect(Producer producer);
    }

    private final Host host;
    private @Nullable Producer producer;
    private @Nullable Consumer consumer;

    Bypass(Host host) {
        this.host = host;
    }

    public void add(Producer added) {
        if (producer != null) {
            host.note(IrqfdAnswer.BYPASS_BUSY);
        } else if (consumer == null || connect(added, consumer)) {
            producer = added;
        }
    }

    public void add(Consumer added) {
        if (consumer != null) {
            host.note(IrqfdAnswer.BYPASS_BUSY);
        } else if (producer == null || connect(producer, added)) {
            consumer = added;
        }
    }

    private boolean connect(Producer of, Consumer to) {
        host.note(IrqfdAnswer.BYPASS_CONNECTS);
        return to.connect(of);
    }

    /** Does nothing if it was not registered. */
    public void remove(Producer removed) {
        if (producer == removed) {
            disconnect();
            producer = null;
        }
    }

    /** Does nothing if it was not registered. */
    public void remove(Consumer removed) {
        if (consumer == removed) {
            disconnect();
            consumer = null;
        }
    }

    private void disconnect() {
        if (producer != null && consumer != null) {
            consumer.disconnect(producer);
        }
    }
}
