/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** The open handles of one kernel, kept to report those that were forgotten. Thread-safe. */
final class Handles {
    private final System.Logger logger;
    private final Set<Entry> open = ConcurrentHashMap.newKeySet();
    private final ReferenceQueue<Object> collected = new ReferenceQueue<>();

    Handles(System.Logger logger) {
        this.logger = logger;
    }

    /** One handle, outliving it. */
    final class Entry extends PhantomReference<Object> {
        private final String name;
        private volatile boolean closed;

        private Entry(Object handle, String name) {
            super(handle, collected);
            this.name = name;
        }

        /** Its owner is done with it; leases may hold it open. */
        void closed() {
            closed = true;
        }

        /** Nothing holds it open any more. */
        void released() {
            open.remove(this);
        }
    }

    /** Registers a new handle, and reports those the collector has found unreleased since the last one. */
    Entry register(Object handle, String name) {
        reportForgotten();
        Entry entry = new Entry(handle, name);
        open.add(entry);
        return entry;
    }

    void reportForgotten() {
        for (@Nullable Reference<?> found = collected.poll(); found != null; found = collected.poll()) {
            if (found instanceof Entry entry && open.remove(entry)) {
                logger.log(
                        System.Logger.Level.WARNING,
                        entry.closed
                                ? "{0} was closed, but what leased it (an irqfd, ioeventfd or memory) was not: it stays"
                                        + " open until the process ends"
                                : "{0} was never closed and stays open until the process ends; close it, best with"
                                        + " try-with-resources",
                        entry.name);
            }
        }
    }

    List<String> stillOpen() {
        return open.stream().map(entry -> entry.name).sorted().toList();
    }
}
