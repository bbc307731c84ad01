/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Messages that hardware dropped with the pending bit of a vLPI. No program can read that bit. Such a message is lost
 * until the program signals its eventfd again in case the bit was set. A source has one entry; the program as a source
 * has one for each eventfd.
 */
final class OwedMessages {
    private record Owed(int source, MessageSource event, Dropped.@Nullable Sentence sentence) {}

    private final MessagesInFlight hand;
    private final WaitingMessages waiting;
    private final Dropped dropped;
    private final List<Owed> owed = new ArrayList<>();

    OwedMessages(MessagesInFlight hand, WaitingMessages waiting, Dropped dropped) {
        this.hand = hand;
        this.waiting = waiting;
        this.dropped = dropped;
    }

    boolean isEmpty() {
        return owed.isEmpty();
    }

    /** Adds a lost message, and its sentence if there is one. */
    void add(int source, MessageSource event, Dropped.@Nullable Sentence sentence) {
        owed.removeIf(
                message -> message.source == source && (source != WaitingMessages.PROGRAM || message.event == event));
        owed.add(new Owed(source, event, sentence));
    }

    /** Removes the entry of a source, whose last message stays lost. */
    void forget(int source) {
        owed.removeIf(message -> message.source == source);
    }

    /** Changes the last message of a source from lost to ended, because the program ended the source. */
    void end(int source, String why) {
        for (int i = owed.size() - 1; i >= 0; i--) {
            Owed message = owed.get(i);
            if (message.source == source) {
                owed.remove(i);
                dropped.found(message.sentence);
                dropped.end(why, waiting.source(source));
            }
        }
    }

    /** Puts the messages of an eventfd that the program signals into the hand. Returns whether there are any. */
    boolean signal(MessageSource event) {
        boolean found = false;
        for (int i = owed.size() - 1; i >= 0; i--) {
            Owed message = owed.get(i);
            if (message.event == event || waiting.source(message.source).signals(event)) {
                owed.remove(i);
                dropped.found(message.sentence);
                hand.put(message.source);
                found = true;
            }
        }
        return found;
    }
}
