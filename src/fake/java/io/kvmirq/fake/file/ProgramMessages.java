/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayList;
import java.util.List;

/** Messages that the program reads from eventfds, signals again, or sends by KVM_SIGNAL_MSI. */
final class ProgramMessages {
    private final Hand hand;
    private final WaitingMessages waiting;
    private final OwedMessages owed;
    private final Dropped dropped;
    private final HeldMessages held = new HeldMessages();

    ProgramMessages(Hand hand, WaitingMessages waiting, OwedMessages owed, Dropped dropped) {
        this.hand = hand;
        this.waiting = waiting;
        this.owed = owed;
        this.dropped = dropped;
    }

    /** Implements {@link Ledger#endRead}. */
    void end(int id, String why) {
        if (held.has(id)) {
            dropped.add(true, why, waiting.source(id), held.place(), 0);
            release(id);
        }
        owed.end(id, why);
    }

    void forget(int id) {
        held.remove(id);
        owed.forget(id);
    }

    /** Messages that the program should have sent, one sentence each: their eventfd has an irqfd. */
    List<String> forgotten() {
        List<String> forgotten = new ArrayList<>();
        for (int i = 0; i < held.count(); i++) {
            MessageSource source = waiting.source(held.id(i));
            EventFile event = held.event(i);
            if (source.hasIrqfd() && event != null && event.hadIrqfd()) {
                forgotten.add("the program read it from " + event
                        + " and did not send it on, although the eventfd of its source has an irqfd; source " + source
                        + ", last place " + held.place().name(0));
            }
        }
        return forgotten;
    }

    /** Gives the messages in the hand to the program, which read them from an eventfd. Its own signals are taken. */
    void read(EventFile event) {
        held.beginRead();
        for (int id = hand.next(0); id >= 0; id = hand.next(id + 1)) {
            if (id <= WaitingMessages.PROGRAM || waiting.source(id) == event) {
                hand.countTaken(1);
            } else {
                hand.countMerged(waiting.add(held.place(), 0, id) ? 0 : 1);
                held.add(id, event);
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
        for (int i = held.count() - 1; i >= 0; i--) {
            int id = held.id(i);
            if (held.event(i) == event || waiting.source(id).signals(event)) {
                hand.put(id);
                hand.setFrom(held.place(), 0);
                release(id);
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
        long read = held.lastRead();
        for (int i = held.count() - 1; i >= 0; i--) {
            if (held.read(i) == read) {
                hand.put(held.id(i));
            }
        }
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
        held.remove(id);
        waiting.remove(held.place(), 0, id);
    }
}
