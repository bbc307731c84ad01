/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** One kernel's open handles, tracked to report those that the program forgot to close. Thread-safe. */
final class Handles {
    static final int NO_NUMBER = -1;
    /** The maximum number of warnings about forgotten handles of one kind. */
    private static final int MOST_WARNINGS = 5;

    private final Reports reports;
    /** The newest entry with an open handle; each links to the next older one. Guarded by this. */
    private @Nullable Entry newest;

    /** The number of reports of forgotten handles, by kind. Guarded by this. */
    private final Map<String, Integer> forgotten = new TreeMap<>();

    private final ReferenceQueue<Object> collected = new ReferenceQueue<>();
    /** Returns the program line that makes a handle. Null unless {@link #trace} was called. */
    private volatile @Nullable Supplier<String> line;

    Handles(Reports reports) {
        this.reports = reports;
    }

    /** An entry for handles that were made together, which it outlives. */
    final class Entry extends PhantomReference<Object> {
        private final String kind;
        /** Indexed by a handle's place among the handles. */
        private final int[] numbers;

        private final boolean[] closed;
        private final boolean[] released;
        private final @Nullable String made;
        private int open;
        private @Nullable Entry newer;
        private @Nullable Entry older;

        private Entry(Object handle, String kind, int handles) {
            super(handle, collected);
            this.kind = kind;
            this.numbers = new int[handles];
            Arrays.fill(numbers, NO_NUMBER);
            this.closed = new boolean[handles];
            this.released = new boolean[handles];
            this.open = handles;
            @Nullable Supplier<String> asked = line;
            this.made = asked == null ? null : asked.get();
        }

        /** Records the handle's new descriptor. */
        void setNumber(int place, int descriptor) {
            numbers[place] = descriptor;
        }

        private String name(int place) {
            return numbers[place] < 0 ? kind : kind + " (fd " + numbers[place] + ")";
        }

        private String nameAndLine(int place) {
            return made == null ? name(place) : name(place) + ", made at " + made;
        }

        /** Records that the owner closed the handle. Leases may hold it open. */
        void closed(int place) {
            closed[place] = true;
        }

        /** Records that the handle's last use has ended. */
        void released(int place) {
            remove(this, place);
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
    private synchronized boolean remove(Entry entry, int place) {
        boolean first = !entry.released[place];
        if (first) {
            entry.released[place] = true;
            entry.open--;
        }
        if (first && entry.open == 0) {
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

    /** The current program line, for the end of a warning; empty unless {@link #trace} was called. */
    String here() {
        @Nullable Supplier<String> asked = line;
        return asked == null ? "" : " (at " + asked.get() + ")";
    }

    /** Makes each new handle record the line of code that creates it. */
    void trace(Supplier<String> asked) {
        line = asked;
    }

    /**
     * Makes an entry for new handles, which {@link #register} must add.
     *
     * @param handle an object that lives as long as any of the handles
     */
    Entry entry(Object handle, String kind, int handles) {
        return new Entry(handle, kind, handles);
    }

    /** Registers new handles, and reports handles that were collected without being closed. */
    void register(Entry made) {
        reportForgotten();
        synchronized (this) {
            add(made);
        }
    }

    void reportForgotten() {
        for (@Nullable Reference<?> found = collected.poll(); found != null; found = collected.poll()) {
            if (found instanceof Entry entry) {
                reportForgotten(entry);
            }
        }
    }

    /** Logs one warning for handles that were made together. */
    private void reportForgotten(Entry entry) {
        for (boolean closed : new boolean[] {false, true}) {
            int first = -1;
            int count = 0;
            for (int place = 0; place < entry.numbers.length; place++) {
                if (entry.closed[place] == closed && remove(entry, place)) {
                    first = first < 0 ? place : first;
                    count++;
                }
            }
            if (count > 0) {
                report(
                        entry.kind.replaceAll(" \\(fd \\d+\\)", ""),
                        entry.nameAndLine(first) + forgotten(closed, count));
            }
        }
    }

    private void report(String kind, String text) {
        int before;
        synchronized (this) {
            before = forgotten.merge(kind, 1, Integer::sum) - 1;
        }
        if (before < MOST_WARNINGS) {
            reports.warn(text, null);
        } else {
            reports.debug(text);
        }
        if (before == MOST_WARNINGS) {
            reports.warn(
                    "more warnings of forgotten handles (" + kind
                            + ") go to level DEBUG; Kernel.close logs their number",
                    null);
        }
    }

    /** Logs how many handles had no warning of their own. */
    void reportUnlisted() {
        Map<String, Integer> all;
        synchronized (this) {
            all = new TreeMap<>(forgotten);
            forgotten.clear();
        }
        all.forEach((kind, count) -> {
            if (count > MOST_WARNINGS) {
                reports.warn(
                        count - MOST_WARNINGS + " more warnings of forgotten handles (" + kind
                                + ") went to level DEBUG of the logger io.kvmirq",
                        null);
            }
        });
    }

    private static String forgotten(boolean closed, int count) {
        String were = count == 1 ? " was" : " and " + (count - 1) + " more that were made with it were";
        String stay = count == 1 ? "stays" : "stay";
        return closed
                ? were + " closed, but what leased " + (count == 1 ? "it" : "them")
                        + " (an irqfd, ioeventfd or memory) was not: " + (count == 1 ? "it " : "they ") + stay
                        + " open until the process ends"
                : were + " never closed and " + stay + " open until the process ends; close "
                        + (count == 1 ? "it" : "them") + ", best with try-with-resources";
    }

    synchronized List<String> stillOpen() {
        List<String> names = new ArrayList<>();
        for (Entry entry = newest; entry != null; entry = entry.older) {
            for (int place = 0; place < entry.numbers.length; place++) {
                if (!entry.released[place]) {
                    names.add(entry.nameAndLine(place));
                }
            }
        }
        names.sort(Comparator.naturalOrder());
        return names;
    }
}
