/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.Fact;

/** Records events of the kernel for a while. Closing it leaves no trace on the host. */
public interface Tracing extends AutoCloseable {
    /**
     * A record.
     *
     * @param text the trace, as the kernel prints it
     * @param overwritten number of events that did not fit: the oldest of their CPUs, before the first in the text
     * @param missing number of further events that are not in the text, anywhere between the others
     * @param whole whether the text was read to its end
     */
    record Recorded(String text, long overwritten, long missing, boolean whole) {
        /** A trace without an event. */
        public static final Recorded NONE = new Recorded("", 0, 0, true);

        /** Number of events that are not in the text. */
        public long lost() {
            return overwritten + missing;
        }
    }

    /**
     * Chooses an event, before {@link #start}.
     *
     * @param event such as {@code kvm/kvm_set_irq}
     * @param filter which of them, in the kernel's notation; empty for all. A kernel that does not know the notation
     *     records all
     * @return how the kernel prints it, or why it cannot be recorded
     */
    Fact<EventFormat> choose(String event, String filter);

    /** Begins to record what was chosen. */
    Fact<Boolean> start();

    /** Ends the recording and reads it, once. */
    Fact<Recorded> stop();

    /** Ends the recording and removes all that it made. It cannot fail, and may be called again. */
    @Override
    void close();
}
