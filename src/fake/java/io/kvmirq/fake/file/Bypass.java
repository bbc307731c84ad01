/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.explain.IrqfdAnswer;
import org.jspecify.annotations.Nullable;

/**
 * The irqbypass of an eventfd. Its producer is the MSI or MSI-X vector for which VFIO signals the eventfd, its consumer
 * an irqfd. A producer and a consumer are connected while both are registered. Source: virt/lib/irqbypass.c, which logs
 * a failure and does not return it.
 */
public final class Bypass {
    public interface Consumer {
        /** Connects a producer. Returns false on failure: the side that is just registered is then removed. */
        boolean connect(MessageHostIrq producer);

        /** Disconnects a producer from this consumer, because the producer or the consumer is removed. */
        void disconnect(MessageHostIrq producer);
    }

    private final KernelOfFile host;
    private @Nullable MessageHostIrq producer;
    private @Nullable Consumer consumer;

    Bypass(KernelOfFile host) {
        this.host = host;
    }

    public void add(MessageHostIrq added) {
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

    private boolean connect(MessageHostIrq of, Consumer to) {
        host.note(IrqfdAnswer.BYPASS_CONNECTS);
        return to.connect(of);
    }

    /** Removes a producer and disconnects it from its consumer; does nothing if the producer is not registered. */
    public void remove(MessageHostIrq removed) {
        if (producer == removed) {
            disconnect();
            producer = null;
        }
    }

    /** Removes a consumer and disconnects its producer; does nothing if the consumer is not registered. */
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
