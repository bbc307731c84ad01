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
    private final ReferenceQueue<Fd> collected = new ReferenceQueue<>();

    Handles(System.Logger logger) {
        this.logger = logger;
    }

    /** One handle, outliving it. */
    final class Entry extends PhantomReference<Fd> {
        private final String name;

        private Entry(Fd fd, String name) {
            super(fd, collected);
            this.name = name;
        }

        void released() {
            open.remove(this);
        }
    }

    /** Registers a new handle, and reports those the collector has found unclosed since the last one. */
    Entry register(Fd fd, String name, Ownership ownership) {
        reportForgotten();
        Entry entry = new Entry(fd, name);
        if (ownership == Ownership.OWNED) {
            open.add(entry);
        }
        return entry;
    }

    void reportForgotten() {
        for (@Nullable Reference<?> found = collected.poll(); found != null; found = collected.poll()) {
            if (found instanceof Entry entry && open.remove(entry)) {
                logger.log(
                        System.Logger.Level.WARNING,
                        "{0} was never closed and stays open until the process ends; close it, best with"
                                + " try-with-resources",
                        entry.name);
            }
        }
    }

    List<String> stillOpen() {
        return open.stream().map(entry -> entry.name).sorted().toList();
    }
}
