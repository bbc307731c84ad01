/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The open handles of one kernel, kept to report those that were forgotten. Thread-safe. */
final class Handles {
    static final int NO_NUMBER = -1;

    private final Reports reports;
    /** The newest open handle; each links to the next older one, as a VM may have thousands. Guarded by this. */
    private @Nullable Entry newest;

    private final ReferenceQueue<Object> collected = new ReferenceQueue<>();

    Handles(Reports reports) {
        this.reports = reports;
    }

    /** One handle, outliving it. */
    final class Entry extends PhantomReference<Object> {
        private final String kind;
        private volatile int number = NO_NUMBER;
        private volatile boolean closed;
        private boolean open = true;
        private @Nullable Entry newer;
        private @Nullable Entry older;

        private Entry(Object handle, String kind) {
            super(handle, collected);
            this.kind = kind;
        }

        /** It has this descriptor from now on. */
        void opened(int descriptor) {
            number = descriptor;
        }

        private String name() {
            return number < 0 ? kind : kind + " (fd " + number + ")";
        }

        /** Its owner is done with it; leases may hold it open. */
        void closed() {
            closed = true;
        }

        /** Nothing holds it open any more. */
        void released() {
            remove(this);
        }
    }

    private void add(Entry entry) {
        entry.older = newest;
        if (newest != null) {
            newest.newer = entry;
        }
        newest = entry;
    }

    /** @return false if it was removed before */
    private synchronized boolean remove(Entry entry) {
        boolean first = entry.open;
        if (first) {
            entry.open = false;
            if (entry.newer == null) {
                newest = entry.older;
            } else {
                entry.newer.older = entry.older;
            }
            if (entry.older != null) {
                entry.older.newer = entry.newer;
            }
        }
        return first;
    }

    /** An entry for a new handle, to be registered. */
    Entry entry(Object handle, String kind) {
        return new Entry(handle, kind);
    }

    /** Registers new handles, and reports handles that were collected without being closed. */
    void register(Entry... made) {
        reportForgotten();
        synchronized (this) {
            for (Entry entry : made) {
                add(entry);
            }
        }
    }

    void reportForgotten() {
        for (@Nullable Reference<?> found = collected.poll(); found != null; found = collected.poll()) {
            if (found instanceof Entry entry && remove(entry)) {
                reports.warn(
                        entry.name()
                                + (entry.closed
                                        ? " was closed, but what leased it (an irqfd, ioeventfd or memory) was not: it"
                                                + " stays open until the process ends"
                                        : " was never closed and stays open until the process ends; close it, best"
                                                + " with try-with-resources"),
                        null);
            }
        }
    }

    synchronized List<String> stillOpen() {
        List<String> names = new ArrayList<>();
        for (Entry entry = newest; entry != null; entry = entry.older) {
            names.add(entry.name());
        }
        names.sort(Comparator.naturalOrder());
        return names;
    }
}
