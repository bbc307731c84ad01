/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import io.kvmirq.explorer.Explorer.Access;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.LongUnaryOperator;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Runs an operation up to where it was, one step further, and stops it before the next. */
final class Run implements Cpu {
    /** Leaves the operation's code. */
    private static final class Pause extends RuntimeException {
        private Pause() {
            super(null, null, false, false);
        }
    }

    private final State state;
    private final int actor;
    private final boolean atomic;
    private final boolean buffered;
    private final Explorer.Model model;
    private final Words words;
    private final int alternative;
    private final List<Access> accesses = new ArrayList<>();
    private @Nullable State next;
    private int replayed;
    private boolean stepped;
    private boolean waits;
    private int alternatives = 1;
    private String name;

    Run(
            State state,
            int actor,
            Operation operation,
            Memory memory,
            Explorer.Model model,
            Words words,
            int alternative) {
        this.state = state;
        this.actor = actor;
        this.atomic = operation.atomic();
        this.name = operation.name();
        this.buffered = memory == Memory.STORE_BUFFERS && !atomic;
        this.model = model;
        this.words = words;
        this.alternative = alternative;
    }

    /** @return whether the operation came to its end */
    boolean go(Consumer<Cpu> code) {
        try {
            code.accept(this);
            return true;
        } catch (Pause e) {
            return false;
        }
    }

    /** Whether the step cannot be made now. */
    boolean waits() {
        return waits;
    }

    /** The state after the step. */
    State next() {
        if (next == null) {
            next = state.copy();
        }
        return next;
    }

    /** How many ways the step can go. */
    int alternatives() {
        return alternatives;
    }

    /** The operation, or what it chose to do. */
    String name() {
        return name;
    }

    String described() {
        return accesses.stream()
                .map(model::describe)
                .filter(text -> !text.isEmpty())
                .collect(Collectors.joining(", "));
    }

    private boolean isReplaying() {
        return replayed < state.results[actor].length;
    }

    private long replay() {
        return state.results[actor][replayed++];
    }

    private void step() {
        if (stepped && !atomic) {
            throw new Pause();
        }
        stepped = true;
    }

    /** @return what the operation sees, now and when it is run again */
    private long result(long value) {
        if (!atomic) {
            next().remember(actor, value);
        }
        return value;
    }

    private void waitFor(boolean condition) {
        if (!condition) {
            waits = true;
            throw new Pause();
        }
    }

    private boolean isDrained() {
        return state.buffers[actor].length == 0;
    }

    @Override
    public long load(int word) {
        if (words.constant[word]) {
            return state.memory[word];
        }
        if (isReplaying()) {
            return replay();
        }
        if (words.isHidden(actor, word)) {
            throw new IllegalStateException(
                    "word " + word + " is said to be private to one actor and another reads it");
        }
        if (words.owned[actor][word] || isUnseen(word)) {
            return result(next().load(actor, word));
        }
        step();
        long value = next().load(actor, word);
        accesses.add(new Access(Access.Kind.LOAD, word, value, value));
        return result(value);
    }

    @Override
    public void store(int word, long value, long mask) {
        if (isReplaying()) {
            replay();
            return;
        }
        boolean unseen = isUnseen(word);
        if (!unseen) {
            step();
        }
        long old = next().load(actor, word);
        if (buffered && !unseen) {
            next().buffer(actor, word, mask, value);
        } else {
            next().store(word, mask, value);
        }
        record(Access.Kind.STORE, word, old, old & ~mask | value & mask);
        result(0);
    }

    @Override
    public long update(int word, LongUnaryOperator change) {
        if (isReplaying()) {
            return replay();
        }
        if (!isUnseen(word)) {
            step();
            waitFor(isDrained());
        }
        return result(updated(word, change));
    }

    private long updated(int word, LongUnaryOperator change) {
        long old = next().memory[word];
        next().memory[word] = change.applyAsLong(old);
        record(Access.Kind.UPDATE, word, old, next().memory[word]);
        return old;
    }

    /**
     * Whether no other actor can tell when the access happens. A locked access to such a word is no barrier here, so
     * that a model must not rely on it for other words.
     */
    private boolean isUnseen(int word) {
        int lock = words.lock[word];
        if (lock >= 0 && next().load(actor, lock) == 0) {
            throw new IllegalStateException("word " + word + " is said to be under a lock that is free");
        }
        return lock >= 0 || words.own[actor][word];
    }

    private void record(Access.Kind kind, int word, long before, long after) {
        if (words.constant[word]) {
            throw new IllegalStateException("word " + word + " is said to be constant and is written");
        }
        if (words.isAnothers(actor, word)) {
            throw new IllegalStateException("word " + word + " is said to be of one actor and another writes it");
        }
        accesses.add(new Access(kind, word, before, after));
    }

    @Override
    public void storePair(int word, long low, long high) {
        if (isReplaying()) {
            replay();
            return;
        }
        step();
        waitFor(isDrained());
        updated(word, old -> low);
        updated(word + 1, old -> high);
        result(0);
    }

    @Override
    public void lock(int word) {
        if (isReplaying()) {
            replay();
            return;
        }
        step();
        waitFor(isDrained() && next().memory[word] == 0);
        result(updated(word, old -> 1));
    }

    @Override
    public void fence() {
        if (!buffered) {
            return;
        }
        if (isReplaying()) {
            replay();
            return;
        }
        step();
        waitFor(isDrained());
        accesses.add(new Access(Access.Kind.FENCE, -1, 0, 0));
        result(0);
    }

    @Override
    public void does(String what) {
        name = what;
    }

    @Override
    public int choose(int n) {
        if (isReplaying()) {
            return (int) replay();
        }
        if (stepped || alternatives > 1) {
            throw new Pause();
        }
        alternatives = n;
        accesses.add(new Access(Access.Kind.CHOICE, -1, n, alternative));
        return (int) result(alternative);
    }
}
