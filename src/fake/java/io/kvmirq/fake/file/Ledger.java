/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Counts each message from its source to the vCPU that takes it, so that none disappears unseen. A message that waits is
 * in a {@link MessagePlace}. A message on its way is in the hand of the ledger: {@link #send} and {@link #pick} put it
 * there, {@link #put} and {@link #arrive} say where it came, and {@link #settle} ends its way. Two messages of one source
 * in one place are one: the second is merged. The hand is empty between calls.
 *
 * <p>After each step: sent = taken + merged + waiting + ended + lost. A message is ended if the program asked for that
 * end, else it is lost. {@link #audit} compares the places with the state of the fake. A message whose place has lost it
 * without a word is lost by the call that made the last step.
 *
 * <p>No message has an object. The sources that go are folded into one. The caller holds the kernel's lock.
 */
public final class Ledger {
    /** A source that is not registered. */
    public static final int UNKNOWN = Sources.NONE;

    private static final String THREW = "a call threw an exception while it was on its way";

    private final Arrivals arrivals = new Arrivals();
    private final Dropped dropped = new Dropped();
    private final WaitingMessages waiting = new WaitingMessages();
    private final Hand hand = new Hand();
    private final OwedMessages owed = new OwedMessages(hand, waiting, dropped);
    private final ProgramMessages program = new ProgramMessages(hand, waiting, owed, dropped);

    /** @return the id of a source, until {@link #forget} */
    public int register(MessageSource source) {
        return waiting.register(source);
    }

    /** A source is gone. Its messages that still wait are of no name from now on. */
    public void forget(int id) {
        hand.countMerged(waiting.forget(id));
        program.forget(id);
    }

    // On the way

    public void send(int source) {
        hand.send(source);
    }

    public void pick(MessagePlace place, int slot) {
        Sources there = place.filledAt(slot);
        if (there == null) {
            return;
        }
        for (int id = there.next(0); id >= 0; id = there.next(id + 1)) {
            hand.put(id);
        }
        waiting.clear(place, slot);
        hand.setFrom(place, slot);
    }

    /** The messages in the hand come to a slot. Messages for several vCPUs are copied. */
    public void put(MessagePlace place, int slot) {
        if (hand.isEmpty()) {
            return;
        }
        hand.comes();
        for (int id = hand.next(0); id >= 0; id = hand.next(id + 1)) {
            if (!waiting.add(place, slot, id)) {
                hand.countMerged(1);
            }
        }
    }

    /** As {@link #put}, if source and slot hold one message each, the usual case; else false, and nothing was done. */
    public boolean putToAnother(MessagePlace place, int slot) {
        int only = hand.only();
        boolean meets = only >= 0 && place.onlyAt(slot) == only && !hand.hasCome();
        if (meets) {
            hand.comesToAnother();
        }
        return meets;
    }

    /** The messages in the hand come to their end: to a line, a reader or a vCPU. */
    public void arrive() {
        if (!hand.isEmpty()) {
            hand.comes();
            hand.countTaken(hand.size());
        }
    }

    /** The messages in the hand become a level of a line, which is not counted. */
    public void becomeLevel() {
        if (!hand.isEmpty()) {
            arrive();
            hand.drop();
        }
    }

    /** The way ends. Messages that came nowhere are lost. */
    public void settle(String why) {
        if (!hand.isEmpty()) {
            if (!hand.hasCome()) {
                loseHand(why, "");
            }
            hand.drop();
        }
    }

    private void loseHand(String what, String why) {
        for (int id = hand.next(0); id >= 0; id = hand.next(id + 1)) {
            dropped.lose(what, why, waiting.source(id), hand);
        }
    }

    /** The way ends at a GSI that led nowhere. Also of a line, which has no message. */
    public void settleAt(int gsi, String why) {
        if (hand.isEmpty()) {
            dropped.add("GSI", gsi, why);
        } else if (!hand.hasCome()) {
            loseHand(dropped.hasRoom(false) ? "GSI " + gsi + " " : "", why);
            hand.drop();
        }
    }

    // In one step

    /** A vCPU takes the interrupt of a slot. */
    public void take(MessagePlace place, int slot) {
        Sources there = place.filledAt(slot);
        if (there != null) {
            hand.countTaken(there.size());
            waiting.clear(place, slot);
        }
    }

    /** The program asked for the end of the messages of a slot. */
    public void end(MessagePlace place, int slot, String why) {
        remove(place, slot, why, true, true, null);
    }

    public void endAll(MessagePlace place, String why) {
        for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
            end(place, slot, why);
        }
    }

    /** The messages of a slot go. A message is ended if the program has ended its source, else it is lost. */
    public void discard(MessagePlace place, int slot, String why) {
        remove(place, slot, why, false, true, null);
    }

    /** As {@link #discard}. A message that is lost is there again if the program signals an eventfd for it. */
    public void discardUnlessSignalled(MessagePlace place, int slot, String why, MessageSource event) {
        remove(place, slot, why, false, true, event);
    }

    /** The messages of a slot go, and no one asked for that. */
    public void lose(MessagePlace place, int slot, String why) {
        remove(place, slot, why, false, false, null);
    }

    private void remove(
            MessagePlace place,
            int slot,
            String why,
            boolean asked,
            boolean endsWithSource,
            @Nullable MessageSource event) {
        Sources there = place.filledAt(slot);
        if (there == null) {
            return;
        }
        for (int id = there.next(0); id >= 0; id = there.next(id + 1)) {
            MessageSource source = waiting.source(id);
            // No one ends the program as a source: what it may signal again is not at its end.
            boolean maySignal = event != null && id == WaitingMessages.PROGRAM;
            boolean isEnd = asked || endsWithSource && source.isEnded() && !maySignal;
            String sentence = dropped.add(isEnd, why, source, place, slot);
            if (!isEnd && event != null) {
                owed.add(id, event, sentence);
            }
        }
        waiting.clear(place, slot);
    }

    // The program

    /** The program reads the eventfd of a place. The messages of devices are with it then, its own signals at their end. */
    public void read(MessagePlace place, EventFile event) {
        pick(place, 0);
        program.read(event);
    }

    /**
     * The program signals an eventfd (its id is {@code source}): with messages that it read from it, those of its
     * vectors, or a message of its own.
     */
    public void signal(int source, MessageSource event) {
        program.signal(source, event);
    }

    /** The program sends the messages that it has read last, or a new one. {@link #sentByProgram} ends that. */
    public void sendByProgram() {
        program.send();
    }

    /** The program learned the outcome. It still has, or has not sent, a message that no vCPU accepted. */
    public void sentByProgram() {
        program.sent();
    }

    /** The program asked for the end of a source's messages. It has no reason to send on those that it has read. */
    public void endRead(int source, String why) {
        program.end(source, why);
    }

    // Calls

    /** A system call begins; {@code request} is the number of an ioctl or 0, and {@code fd} may be -1. */
    public void begin(String call, long request, int fd) {
        if (hand.isBusy()) {
            threw();
        }
        dropped.begin(call, request, fd);
    }

    public void beginWrite(int fd) {
        if (hand.isBusy()) {
            threw();
        }
        dropped.beginWrite(fd);
    }

    /** A call or a timer threw an exception. */
    public void threw() {
        settleRest(THREW);
    }

    /** The program still has the message that it was about to send. */
    private void settleRest(String why) {
        if (hand.sends()) {
            program.sent();
        } else {
            settle(why);
        }
    }

    /** A call that only signals ends: {@link #end} without its audit. */
    public void endSignal() {
        if (hand.isBusy()) {
            settleRest("it came nowhere");
        }
        dropped.endUnaudited();
    }

    /** A call or another step ends. */
    public void end() {
        audit();
        if (hand.isBusy()) {
            settleRest("it came nowhere");
        }
        dropped.end();
    }

    private void audit() {
        List<MessagePlace> occupied = waiting.occupied();
        for (int i = occupied.size() - 1; i >= 0; i--) {
            MessagePlace place = occupied.get(i);
            for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
                if (!place.holds(slot)) {
                    lose(place, slot, "it vanished" + dropped.unauditedText());
                }
            }
        }
    }

    /** The call that is under way. It may wait while others are made, and has its name again by {@link #resume}. */
    String call() {
        return dropped.call();
    }

    long request() {
        return dropped.request();
    }

    int descriptor() {
        return dropped.descriptor();
    }

    void resume(String call, long request, int fd) {
        dropped.begin(call, request, fd);
    }

    // Results

    /** @param text of the caller, at the end of each sentence about a message that is lost or ended */
    public void setCaller(Supplier<String> text) {
        dropped.setCaller(text);
    }

    /** Counts of messages; waiting is the number of sources of all places. */
    public record Counts(long sent, long taken, long merged, long waiting, long ended, long lost) {}

    public Counts counts() {
        return new Counts(
                hand.sent(), hand.taken(), hand.merged(), waiting.count(), dropped.endedCount(), dropped.lostCount());
    }

    /** A sentence for each message that waits; {@code open}: only those that nothing stops, none at rest. */
    public List<String> waiting(boolean open) {
        return waiting.texts(open);
    }

    /** An interrupt of a line, or one that was not sent, reached no vCPU. Allocates nothing once there are many. */
    public void lost(String what, int number, String why) {
        dropped.add(what, number, why);
    }

    /** Also the messages that wait in the program and that it has no reason to have. */
    public List<String> lost() {
        return Stream.concat(dropped.lost().stream(), program.forgotten().stream())
                .toList();
    }

    /** The messages whose end the program asked for. */
    public List<String> ended() {
        return dropped.ended();
    }

    /** A LAPIC accepted a vector, or hardware posted it. */
    public void delivered(int vcpu, int vector) {
        arrivals.add(vcpu, vector);
    }

    /** By vector: how often a vCPU got it. */
    public Map<Integer, Integer> received(int vcpu) {
        return arrivals.of(vcpu);
    }
}
