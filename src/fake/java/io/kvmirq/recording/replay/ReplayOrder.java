/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.Errno;
import io.kvmirq.recording.tapes.TapeLine;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;

/**
 * Calls of different threads that overlapped in time: their lines may be in the other order than their effects. A call
 * that answers otherwise is made again after those that may have returned before it.
 */
final class ReplayOrder {
    private final ReplayedCalls calls;
    private final ReplayAnswers answers;
    /** Told of a call that is made before its line, and whether it answered as on the tape. */
    private final BiConsumer<TapeLine.Call, Boolean> made;

    /** Calls that were made before their line, by number. */
    private final Map<Long, TapeLine.Call> early = new HashMap<>();

    ReplayOrder(ReplayedCalls calls, ReplayAnswers answers, BiConsumer<TapeLine.Call, Boolean> made) {
        this.calls = calls;
        this.answers = answers;
        this.made = made;
    }

    /** Whether the call was made before its line; asked once. */
    boolean wasMade(TapeLine.Call call) {
        return early.remove(call.number()) != null;
    }

    private List<TapeLine.Call> after(TapeLine.Call call, ReplayWindow window) {
        return window.overlappingAfter(call).stream()
                .filter(other -> !early.containsKey(other.number())
                        && ReplayWindow.share(call, other)
                        && !ReplayGuests.isRun(other)
                        && calls.isPossible(other))
                .toList();
    }

    boolean overlaps(TapeLine.Call call, ReplayWindow window) {
        return !after(call, window).isEmpty() || followsOthers(call, window);
    }

    private static boolean followsOthers(TapeLine.Call call, ReplayWindow window) {
        return window.overlappingBefore(call).stream().anyMatch(other -> ReplayWindow.share(call, other));
    }

    /** Before a call that waited on the tape: makes what it waited for, where that may have returned before it. */
    void prepare(TapeLine.Call call, ReplayWindow window) throws TimeoutException {
        if (calls.transfers().isReady(call)) {
            return;
        }
        for (TapeLine.Call other : after(call, window)) {
            makeEarly(other);
            if (calls.transfers().isReady(call)) {
                return;
            }
        }
    }

    private void makeEarly(TapeLine.Call other) throws TimeoutException {
        boolean same = answers.same(other, calls.make(other));
        early.put(other.number(), other);
        made.accept(other, same);
    }

    /** Whether the call answers as on the tape in another order, after it answered {@code answer}. */
    boolean fits(TapeLine.Call call, ReplayedCalls.Answer answer, ReplayWindow window) throws TimeoutException {
        if (call.isRead()) {
            return readsSame(call, answer, window);
        }
        if (answer.result() >= 0) {
            return false;
        }
        for (TapeLine.Call other : after(call, window)) {
            makeEarly(other);
            if (answers.same(call, calls.make(call))) {
                return true;
            }
        }
        return false;
    }

    private boolean wasWrittenEarly(String eventfd) {
        return early.values().stream()
                .anyMatch(other -> other.isWrite() && other.on().equals(eventfd));
    }

    private static boolean isTaken(TapeLine.Call call, ReplayedCalls.Answer answer) {
        return answer.result() == (call.call().equals("eventfd_read") ? 0 : Long.BYTES);
    }

    /** An eventfd's count is the sum of its writes: reads too many put back what is of a later write. */
    private boolean readsSame(TapeLine.Call call, ReplayedCalls.Answer answer, ReplayWindow window)
            throws TimeoutException {
        boolean empty = call.errno().filter(Errno.EAGAIN::equals).isPresent();
        boolean read = call.taken().isPresent();
        boolean got = isTaken(call, answer) || answer.result() == -Errno.EAGAIN.number();
        if (!got || !empty && !read) {
            return false;
        }
        long expected = call.taken().orElse(0);
        long count = isTaken(call, answer) ? answer.out().getLong(0) : 0;
        for (TapeLine.Call other : after(call, window)) {
            if (count < expected) {
                makeEarly(other);
                count += calls.transfers().readNow(call);
            }
        }
        if (count > expected && (followsOthers(call, window) || wasWrittenEarly(call.on()))) {
            calls.transfers().add(call, count - expected);
            count = expected;
        }
        return count == expected;
    }
}
