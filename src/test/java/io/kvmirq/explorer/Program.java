/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The operations of all actors, as places: their code runs once for each place, not once for each state. */
final class Program {
    private final List<Actor> actors;
    private final Memory memoryModel;
    private final long[] start;
    private final Words words;
    /** By actor, where its operations begin, and the end of all. */
    private final Place[][] first;

    private int places;

    Program(List<Actor> actors, Memory memoryModel, long[] start, Words words) {
        this.actors = actors;
        this.memoryModel = memoryModel;
        this.start = start.clone();
        this.words = words;
        this.first = new Place[actors.size()][];
        for (int actor = 0; actor < first.length; actor++) {
            List<Operation> operations = actors.get(actor).operations();
            first[actor] = new Place[operations.size() + 1];
            for (int i = 0; i < operations.size(); i++) {
                first[actor][i] = filled(new Place(i, operations.get(i).name(), places++), operations.get(i));
            }
            first[actor][operations.size()] = new Place(operations.size(), "", places++);
        }
    }

    Place[] begin() {
        Place[] begin = new Place[first.length];
        for (int actor = 0; actor < begin.length; actor++) {
            begin[actor] = first[actor][0];
        }
        return begin;
    }

    Words words() {
        return words;
    }

    /** Whether an operation's stores go through the store buffer. */
    boolean isBuffered(Operation operation) {
        return memoryModel == Memory.STORE_BUFFERS && !operation.atomic();
    }

    /** The operation that an actor is in or before; null if all have ended. */
    @Nullable
    Operation operation(int actor, Place place) {
        List<Operation> operations = actors.get(actor).operations();
        return place.operation < operations.size() ? operations.get(place.operation) : null;
    }

    /** The place behind an access that returned {@code result}. */
    Place after(Place place, Operation operation, long result) {
        Place known = place.after(result);
        if (known != null) {
            return known;
        }
        Place made = filled(new Place(place, result, places++), operation);
        place.add(made);
        return made;
    }

    /** The begin of the operation behind this one. */
    Place following(int actor, Place place) {
        int next = place.operation + 1;
        boolean again = actors.get(actor).repeats() && next == first[actor].length - 1;
        return first[actor][again ? 0 : next];
    }

    private Place filled(Place place, Operation operation) {
        new Run(place, start, words, isBuffered(operation)).fill(operation);
        return place;
    }
}
