/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.MessageSource;
import org.jspecify.annotations.Nullable;

/** A vector of MSI or MSI-X as a source of messages. */
record VectorSource(String device, InterruptMode mode, int vector, Triggers triggers) implements MessageSource {
    /** The eventfds of enabled vectors. */
    interface Triggers {
        /** The eventfd of a vector; null if it has none, or the mode is not enabled. */
        @Nullable
        EventFile of(InterruptMode mode, int vector);
    }

    @Override
    public boolean isEnded() {
        return triggers.of(mode, vector) == null;
    }

    @Override
    public boolean signals(MessageSource event) {
        return triggers.of(mode, vector) == event;
    }

    @Override
    public boolean hasIrqfd() {
        EventFile trigger = triggers.of(mode, vector);
        return trigger != null && trigger.hasIrqfd();
    }

    @Override
    public String toString() {
        return "vector " + vector + " of " + (mode == InterruptMode.MSI ? "MSI" : "MSI-X") + " of " + device;
    }
}
