/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Records kernel events for a while, in pages per CPU. Closing it leaves no trace on the host. */
public interface Tracing extends AutoCloseable {
    /** Takes pages. Those of a CPU come in their order. */
    interface Pages {
        /** @param page the taker's own, in the byte order of the machine */
        void page(int cpu, ByteBuffer page);
    }

    /**
     * Number of events that are not in the pages.
     *
     * @param overwritten did not fit: a page marks the place
     * @param missing further ones, anywhere between the others
     */
    record Lost(long overwritten, long missing) {
        /** All of them. */
        public long total() {
            return overwritten + missing;
        }
    }

    /**
     * Chooses an event, before {@link #start}.
     *
     * @param event such as {@code kvm/kvm_set_irq}
     * @param filter which of them, in the kernel's notation; empty for all. A kernel that does not know the notation
     *     records all
     * @return its form, or why it cannot be recorded
     */
    Known<EventFormat> choose(String event, String filter);

    /**
     * Begins to record what was chosen.
     *
     * @return the form of the pages
     */
    Known<PageFormat> start();

    /**
     * Takes out what was recorded until now. It waits for no event.
     *
     * @return whether a buffer was half full
     */
    boolean read(Pages pages) throws IOException;

    /** Ends the recording. What it recorded can still be read. */
    Known<Lost> stop();

    /** Ends the recording and removes all that it made. It cannot fail, and may be called again. */
    @Override
    void close();
}
