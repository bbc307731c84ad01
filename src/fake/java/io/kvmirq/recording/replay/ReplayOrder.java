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
 * Handles calls of different threads that overlapped in time: their effects may be in the reverse order of their lines.
 * A call with another answer is made again after the later calls that may have returned before it.
 */
final class ReplayOrder {
    private final ReplayedCalls calls;
    private final ReplayAnswers answers;
    /** Receives a call that is made before its line, and whether its answer equals that on the tape. */
    private final BiConsumer<TapeLine.Call, Boolean> made;

    /** The calls that were made before their line, keyed by number. */
    private final Map<Long, TapeLine.Call> early = new HashMap<>();

    ReplayOrder(ReplayedCalls calls, ReplayAnswers answers, BiConsumer<TapeLine.Call, Boolean> made) {
        this.calls = calls;
        this.answers = answers;
        this.made = made;
    }

    /** Whether the call was made before its line. Removes the call. */
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

    /** Prepares a call that waited on the tape: makes overlapping calls until it can return. */
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

    /** Whether another order of calls explains the tape's answer, after the call returned {@code answer} here. */
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

    /** Accepts a read that returned more than on the tape: the surplus belongs to a later write and is written back. */
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
