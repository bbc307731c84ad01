/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The lines of a tape in order, with a window around the current line. A line is written after its call has returned.
 * Two calls of different threads overlap unless a line shows that one returned before the other began. The order of the
 * lines of overlapping calls is not significant.
 */
final class ReplayWindow {
    /** Lines on each side. A thread may be preempted for a time slice between its call and its line. */
    private static final int LINES = 4096;

    /** Lines that are always held, and the bytes above which no more lines are held. */
    private static final int FEWEST = 128;

    private static final long MOST_BYTES = 8 << 20;

    private final TapeReader reader;
    private final Deque<TapeLine> next = new ArrayDeque<>();
    private final Deque<TapeLine.Call> done = new ArrayDeque<>();
    private long nextBytes;
    private long doneBytes;
    private boolean ended;

    ReplayWindow(TapeReader reader) {
        this.reader = reader;
    }

    Optional<TapeLine> next() throws IOException {
        while (!ended && !isFull(next.size(), nextBytes)) {
            reader.next().ifPresentOrElse(this::read, () -> ended = true);
        }
        Optional<TapeLine> line = Optional.ofNullable(next.poll());
        if (line.isPresent()) {
            nextBytes -= bytes(line.get());
        }
        return line;
    }

    private void read(TapeLine line) {
        next.add(line);
        nextBytes += bytes(line);
    }

    private static boolean isFull(int lines, long bytes) {
        return lines > LINES || lines > FEWEST && bytes > MOST_BYTES;
    }

    private static long bytes(TapeLine line) {
        return line instanceof TapeLine.Call call ? bytes(call.in()) + bytes(call.out()) + bytes(call.data()) : 0;
    }

    private static long bytes(Optional<ByteBuffer> part) {
        return part.isPresent() ? part.get().limit() : 0;
    }

    void done(TapeLine.Call call) {
        done.addFirst(call);
        doneBytes += bytes(call);
        while (isFull(done.size(), doneBytes)) {
            doneBytes -= bytes(done.removeLast());
        }
    }

    private static boolean isOfThread(TapeLine.Call call, TapeLine.Call other) {
        return call.pid() == other.pid() && call.tid() == other.tid();
    }

    /** Calls of other threads that may have returned before this call, though their lines are later. */
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

    /** Calls of other threads that may have begun after this call, though their lines are earlier; latest first. */
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

    /** Whether both calls use the same file. */
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
