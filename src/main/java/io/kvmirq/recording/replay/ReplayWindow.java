/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The lines of a tape in their order, and those near the current one. A line is written when its call has returned. Two
 * calls of different threads overlap in time unless a line shows that one returned before the other began; then the
 * order of their two lines says nothing.
 */
final class ReplayWindow {
    /** Lines on each side: calls that overlap are near each other. */
    private static final int LINES = 128;

    private final TapeReader reader;
    private final Deque<TapeLine> next = new ArrayDeque<>();
    private final Deque<TapeLine.Call> done = new ArrayDeque<>();
    private boolean ended;

    ReplayWindow(TapeReader reader) {
        this.reader = reader;
    }

    Optional<TapeLine> next() throws IOException {
        while (!ended && next.size() <= LINES) {
            reader.next().ifPresentOrElse(next::add, () -> ended = true);
        }
        return Optional.ofNullable(next.poll());
    }

    /** After a call was replayed. */
    void done(TapeLine.Call call) {
        done.addFirst(call);
        if (done.size() > LINES) {
            done.removeLast();
        }
    }

    private static boolean isOfThread(TapeLine.Call call, TapeLine.Call other) {
        return call.pid() == other.pid() && call.tid() == other.tid();
    }

    /** The calls of other threads that may have returned before this one, though their lines come later. */
    List<TapeLine.Call> overlappingAfter(TapeLine.Call call) {
        List<TapeLine.Call> overlapping = new ArrayList<>();
        Set<Integer> threads = new HashSet<>();
        for (TapeLine line : next) {
            if (line instanceof TapeLine.Call later && !isOfThread(call, later) && threads.add(later.tid())) {
                overlapping.add(later);
            }
        }
        return overlapping;
    }

    /** The calls of other threads that may have begun after this one, though their lines come earlier; latest first. */
    List<TapeLine.Call> overlappingBefore(TapeLine.Call call) {
        List<TapeLine.Call> overlapping = new ArrayList<>();
        for (Iterator<TapeLine.Call> earlier = done.iterator(); earlier.hasNext(); ) {
            TapeLine.Call before = earlier.next();
            if (isOfThread(call, before)) {
                break;
            }
            overlapping.add(before);
        }
        return overlapping;
    }

    /** Whether both calls name one file. */
    static boolean share(TapeLine.Call call, TapeLine.Call other) {
        Set<String> files = files(call);
        return files(other).stream().anyMatch(files::contains);
    }

    private static Set<String> files(TapeLine.Call call) {
        Set<String> files = new HashSet<>(call.names().values());
        files.add(call.on());
        call.made().ifPresent(files::add);
        files.remove("");
        return files;
    }
}
