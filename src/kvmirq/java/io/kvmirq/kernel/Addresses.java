/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The address range of a mapping with views. Views, slices and segments may be used after the mapping is closed, so the
 * range stays reserved until none is reachable. An access in progress counts as a view. Thread-safe.
 */
final class Addresses extends UseCount {
    private final Libc libc;
    private final Reports reports;
    private final long start;
    private final long length;

    Addresses(Libc libc, Reports reports, long start, long length) {
        this.libc = libc;
        this.reports = reports;
        this.start = start;
        this.length = length;
    }

    /** Makes a view. Must not be called after {@link #withdraw}. */
    ByteBuffer view(long offset, int bytes) {
        View end = new View();
        begin();
        boolean made = false;
        try {
            ByteBuffer view = libc.view(start + offset, bytes, end);
            made = true;
            return view.order(ByteOrder.LITTLE_ENDIAN);
        } finally {
            if (!made) {
                end.run();
            }
        }
    }

    /** Ends a view exactly once, even if the binding fails after it has registered this action. */
    private final class View extends UseCount implements Runnable {
        @Override
        public void run() {
            if (end()) {
                finishView();
            }
        }
    }

    private void finishView() {
        if (finish()) {
            libc.munmap(start, length);
        }
    }

    /** Frees the pages. Views that are still reachable then read zeros, and writes to them are lost. */
    void withdraw() {
        begin();
        end();
        if (isLast() || libc.mapZeros(start, length) >= 0) {
            finishView();
        } else {
            // The addresses may already be free and used by others, so they are not unmapped later.
            reports.warn(
                    "the memory at 0x" + Long.toHexString(start) + " could not be released while views of it are in"
                            + " use, so it may stay until the process ends; drop views before closing the mapping",
                    null);
        }
    }
}
