/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayList;
import java.util.List;

/**
 * Messages that the program reads from eventfds, signals again, or sends by KVM_SIGNAL_MSI. A source has at most one held
 * message.
 */
final class ProgramMessages {
    /** A message of a device that the program has read, and has not passed on; {@code read} is the read's number. */
    private record Held(int id, MessageSource event, long thread, long read) {}

    private final MessagesInFlight hand;
    private final WaitingMessages waiting;
    private final OwedMessages owed;
    private final Dropped dropped;
    private final MessagePlace place = new MessagePlace(slot -> true, slot -> "the program, which read its eventfd");
    /** In the order of the reads. */
    private final List<Held> held = new ArrayList<>();

    private long reads;

    ProgramMessages(MessagesInFlight hand, WaitingMessages waiting, OwedMessages owed, Dropped dropped) {
        this.hand = hand;
        this.waiting = waiting;
        this.owed = owed;
        this.dropped = dropped;
    }

    /** Implements {@link Ledger#endRead}. */
    void end(int id, String why) {
        if (removeHeld(id)) {
            dropped.add(true, why, waiting.source(id), place, 0);
            waiting.remove(place, 0, id);
        }
        owed.end(id, why);
    }

    void forget(int id) {
        removeHeld(id);
        owed.forget(id);
    }

    private boolean removeHeld(int id) {
        return held.removeIf(message -> message.id == id);
    }

    /** Messages that the program should have sent, one sentence each: their eventfd has an irqfd. */
    List<String> forgotten() {
        List<String> forgotten = new ArrayList<>();
        for (Held message : held) {
            MessageSource source = waiting.source(message.id);
            if (source.hasIrqfd() && message.event.hadIrqfd()) {
                forgotten.add("the program read it from " + message.event
                        + " and did not send it on, although the eventfd of its source has an irqfd; source " + source
                        + ", last place " + place.name(0));
            }
        }
        return forgotten;
    }

    /** Gives the messages in the hand to the program, which read them from an eventfd. Its own signals are taken. */
    void read(MessageSource event) {
        reads++;
        for (int id = hand.next(0); id >= 0; id = hand.next(id + 1)) {
            if (id <= WaitingMessages.PROGRAM || waiting.source(id) == event) {
                hand.countTaken(1);
            } else {
                hand.countMerged(waiting.add(place, 0, id) ? 0 : 1);
                removeHeld(id);
                held.add(new Held(id, event, Thread.currentThread().getId(), reads));
            }
        }
        hand.drop();
    }

    void signal(int source, MessageSource event) {
        if (held.isEmpty() && owed.isEmpty()) {
            hand.send(source);
        } else {
            signalAgain(source, event);
        }
    }

    private void signalAgain(int source, MessageSource event) {
        hand.setFromSource();
        boolean again = owed.signal(event);
        for (int i = held.size() - 1; i >= 0; i--) {
            Held message = held.get(i);
            if (message.event == event || waiting.source(message.id).signals(event)) {
                hand.put(message.id);
                hand.setFrom(place, 0);
                release(message.id);
                again = true;
            }
        }
        if (!again) {
            hand.send(source);
        }
    }

    void send() {
        hand.setSends(true);
        if (held.isEmpty()) {
            hand.send(WaitingMessages.PROGRAM);
            return;
        }
        long read = lastRead();
        for (int i = held.size() - 1; i >= 0; i--) {
            if (held.get(i).read == read) {
                hand.put(held.get(i).id);
            }
        }
    }

    /** The number of this thread's last read that is held, or else of another thread's. */
    private long lastRead() {
        long thread = Thread.currentThread().getId();
        for (int i = held.size() - 1; i >= 0; i--) {
            if (held.get(i).thread == thread) {
                return held.get(i).read;
            }
        }
        return held.get(held.size() - 1).read;
    }

    void sent() {
        hand.setSends(false);
        for (int id = hand.next(0); id >= 0; id = hand.next(id + 1)) {
            if (hand.hasCome() && id != WaitingMessages.PROGRAM) {
                release(id);
            } else if (!hand.hasCome() && id == WaitingMessages.PROGRAM) {
                hand.unsend();
            }
        }
        hand.drop();
    }

    private void release(int id) {
        removeHeld(id);
        waiting.remove(place, 0, id);
    }
}
