/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The sources of messages, with their ids, and the places where messages wait. */
final class WaitingMessages {
    /** The id of all sources that were removed while they had waiting messages. */
    static final int GONE = 0;

    /** The id of the program, for messages that it sends itself. */
    static final int PROGRAM = 1;

    private @Nullable MessageSource[] sources = {new Named("a source that is gone"), new Named("KVM_SIGNAL_MSI")};
    /** The number of slots that have a source, by source id. */
    private int[] waiting = new int[2];

    private int firstFree = 2;
    private final List<MessagePlace> occupied = new ArrayList<>();

    /** A source that is never removed. */
    private record Named(String name) implements MessageSource {
        @Override
        public boolean isEnded() {
            return true;
        }

        @Override
        public boolean signals(MessageSource event) {
            return false;
        }

        @Override
        public boolean hasIrqfd() {
            return false;
        }

        @Override
        public String toString() {
            return name;
        }
    }

    // Sources

    int register(MessageSource source) {
        int id = firstFree;
        while (id < sources.length && sources[id] != null) {
            id++;
        }
        if (id == sources.length) {
            sources = Arrays.copyOf(sources, 2 * id);
            waiting = Arrays.copyOf(waiting, 2 * id);
        }
        sources[id] = source;
        firstFree = id + 1;
        return id;
    }

    /** Frees a source's id; {@link #GONE} takes its messages. Returns how many merged with others. */
    int forget(int id) {
        int merged = 0;
        for (int i = occupied.size() - 1; i >= 0 && waiting[id] > 0; i--) {
            MessagePlace place = occupied.get(i);
            for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
                SourceSet there = place.at(slot);
                if (there.remove(id)) {
                    waiting[id]--;
                    merged += add(place, slot, GONE) ? 0 : 1;
                }
            }
        }
        sources[id] = null;
        firstFree = Math.min(firstFree, id);
        return merged;
    }

    MessageSource source(int id) {
        MessageSource source = sources[id];
        if (source == null) {
            throw new IllegalStateException("source " + id + " is not registered");
        }
        return source;
    }

    // Places

    /** @return whether the slot did not have the source */
    boolean add(MessagePlace place, int slot, int id) {
        SourceSet there = place.at(slot);
        if (!there.add(id)) {
            return false;
        }
        waiting[id]++;
        if (there.size() == 1) {
            place.setFilled(slot, true);
            if (place.index() < 0) {
                place.setIndex(occupied.size());
                occupied.add(place);
            }
        }
        return true;
    }

    void remove(MessagePlace place, int slot, int id) {
        SourceSet there = place.at(slot);
        there.remove(id);
        waiting[id]--;
        if (there.isEmpty()) {
            emptied(place, slot);
        }
    }

    void clear(MessagePlace place, int slot) {
        SourceSet there = place.at(slot);
        for (int id = there.next(0); id >= 0; id = there.next(id + 1)) {
            waiting[id]--;
        }
        there.clear();
        emptied(place, slot);
    }

    private void emptied(MessagePlace place, int slot) {
        place.setFilled(slot, false);
        if (place.isEmpty()) {
            MessagePlace last = occupied.remove(occupied.size() - 1);
            if (last != place) {
                occupied.set(place.index(), last);
                last.setIndex(place.index());
            }
            place.setIndex(-1);
        }
    }

    /** The places that have messages. A loop from the last to the first may empty them. */
    List<MessagePlace> occupied() {
        return occupied;
    }

    /** The number of waiting messages, counted one by one. */
    long count() {
        long count = 0;
        for (MessagePlace place : occupied) {
            for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
                count += place.at(slot).size();
            }
        }
        return count;
    }

    /** A sentence for each message; {@code open}: only for messages that nothing delays. */
    List<String> texts(boolean open) {
        List<String> texts = new ArrayList<>();
        for (MessagePlace place : occupied) {
            for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
                SourceSet there = place.at(slot);
                for (int id = there.next(0); id >= 0 && (!open || place.isOpen(slot)); id = there.next(id + 1)) {
                    texts.add(source(id) + ", in " + place.name(slot));
                }
            }
        }
        return texts;
    }
}
