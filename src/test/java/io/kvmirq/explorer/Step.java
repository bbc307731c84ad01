/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import io.kvmirq.explorer.Explorer.Access;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One step of an actor from a state, with the accesses around it that no other actor can tell. */
final class Step {
    private final State state;
    private final int actor;
    private final Operation operation;
    private final Program program;
    private final Words words;
    private final int alternative;
    private final @Nullable List<Access> told;
    private @Nullable State next;
    private Place place;
    private boolean stepped;
    private int alternatives = 1;

    /** @param told where to list the accesses */
    Step(State state, int actor, Operation operation, Program program, int alternative, @Nullable List<Access> told) {
        this.state = state;
        this.actor = actor;
        this.operation = operation;
        this.program = program;
        this.words = program.words();
        this.alternative = alternative;
        this.told = told;
        this.place = state.places[actor];
    }

    /** @return the state after the step; null if the step cannot be made now */
    @Nullable
    State go() {
        while (place.next != Place.Next.END) {
            boolean seen = isSeen();
            if (place.next == Place.Next.CHOICE
                    ? stepped || alternatives > 1
                    : seen && stepped && !operation.atomic()) {
                break;
            }
            stepped |= seen;
            if (seen && waits()) {
                return null;
            }
            place = program.after(place, operation, access(seen));
        }
        if (place.next == Place.Next.END) {
            next().move(actor, program.following(actor, place));
        } else if (!operation.atomic()) {
            next().move(actor, place);
        }
        return next();
    }

    /** How many ways the step can go. */
    int alternatives() {
        return alternatives;
    }

    /** The operation, or what it chose to do. */
    String name() {
        return place.name;
    }

    private State next() {
        if (next == null) {
            next = state.copy();
        }
        return next;
    }

    /** Whether the next access is a step. */
    private boolean isSeen() {
        return switch (place.next) {
            case LOAD -> {
                if (words.hidden[actor][place.word]) {
                    throw new IllegalStateException(
                            "word " + place.word + " is said to be private to one actor and another reads it");
                }
                yield !words.owned[actor][place.word] && !isUnseen(place.word);
            }
            case STORE, UPDATE -> !isUnseen(place.word);
            case PAIR, LOCK, FENCE -> true;
            case CHOICE, END -> false;
        };
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

    /** Whether a step waits for the store buffer or for a lock. */
    private boolean waits() {
        return switch (place.next) {
            case LOAD, STORE -> false;
            case LOCK -> !next().isDrained(actor) || next().memory[place.word] != 0;
            default -> !next().isDrained(actor);
        };
    }

    /** @return what the operation sees */
    private long access(boolean seen) {
        int word = place.word;
        switch (place.next) {
            case LOAD -> {
                long value = next().load(actor, word);
                if (seen) {
                    tell(Access.Kind.LOAD, word, value, value);
                }
                return value;
            }
            case STORE -> store(seen);
            case UPDATE -> {
                long old = next().memory[word];
                update(word, place.change.applyAsLong(old));
                return old;
            }
            case PAIR -> {
                update(word, place.value);
                update(word + 1, place.mask);
            }
            case LOCK -> update(word, 1);
            case CHOICE -> {
                alternatives = (int) place.value;
                tell(Access.Kind.CHOICE, -1, alternatives, alternative);
                return alternative;
            }
            case FENCE -> tell(Access.Kind.FENCE, -1, 0, 0);
            case END -> throw new IllegalStateException("no access");
        }
        return 0;
    }

    private void store(boolean seen) {
        long old = next().load(actor, place.word);
        if (seen && program.isBuffered(operation)) {
            next().buffer(actor, place.word, place.mask, place.value);
        } else {
            next().store(place.word, place.mask, place.value);
        }
        write(Access.Kind.STORE, place.word, old, old & ~place.mask | place.value & place.mask);
    }

    private void update(int word, long value) {
        long old = next().memory[word];
        next().set(word, value);
        write(Access.Kind.UPDATE, word, old, value);
    }

    private void write(Access.Kind kind, int word, long before, long after) {
        if (words.constant[word]) {
            throw new IllegalStateException("word " + word + " is said to be constant and is written");
        }
        if (words.anothers[actor][word]) {
            throw new IllegalStateException("word " + word + " is said to be of one actor and another writes it");
        }
        tell(kind, word, before, after);
    }

    private void tell(Access.Kind kind, int word, long before, long after) {
        if (told != null) {
            told.add(new Access(kind, word, before, after));
        }
    }
}
