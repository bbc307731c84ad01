/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Follows each message from its source to the vCPU that takes it, and notices every loss. A waiting message is in a
 * {@link MessagePlace}, a message that a call is moving is in the "hand". {@link #send} and {@link #pick} put a message
 * into the hand, {@link #put} and {@link #arrive} tell the place or vCPU that it reached, and {@link #settle} empties
 * the hand. A second message of one source in one place is merged with the first. Between calls the hand is empty.
 *
 * <p>After each step the ledger's {@link Counts} fulfil sent = taken + merged + waiting + ended + lost. A message that
 * reaches no vCPU is ended if the program dropped it, and lost if not. {@link #audit} compares the places with the
 * state of the fake. If the fake's state lacks a message, the ledger reports that the last call lost it.
 *
 * <p>Messages are numbers, not objects. All {@linkplain #forget forgotten} sources share one id. The caller holds the
 * kernel's lock.
 */
public final class Ledger {
    /** The id of any source that is not registered. */
    public static final int UNKNOWN = SourceSet.NONE;

    private static final String THREW = "a call threw an exception while it was on its way";

    private final Arrivals arrivals = new Arrivals();
    private final Dropped dropped = new Dropped();
    private final WaitingMessages waiting = new WaitingMessages();
    private final MessagesInFlight hand = new MessagesInFlight();
    private final OwedMessages owed = new OwedMessages(hand, waiting, dropped);
    private final ProgramMessages program = new ProgramMessages(hand, waiting, owed, dropped);

    /** @return the id of the source, which is valid until {@link #forget} */
    public int register(MessageSource source) {
        return waiting.register(source);
    }

    /** Removes a source. Its waiting messages stay, but have no name. */
    public void forget(int id) {
        hand.countMerged(waiting.forget(id));
        program.forget(id);
    }

    // On the way

    public void send(int source) {
        hand.send(source);
    }

    public void pick(MessagePlace place, int slot) {
        SourceSet there = place.filledAt(slot);
        if (there == null) {
            return;
        }
        for (int id = there.next(0); id >= 0; id = there.next(id + 1)) {
            hand.put(id);
        }
        waiting.clear(place, slot);
        hand.setFrom(place, slot);
    }

    /** Puts the messages in the hand into a slot. The messages stay in the hand for further vCPUs. */
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

    /** A fast {@link #put} for the usual case of one message in hand and slot; else returns false and does nothing. */
    public boolean putToAnother(MessagePlace place, int slot) {
        int only = hand.only();
        boolean meets = only >= 0 && place.onlyAt(slot) == only && !hand.hasCome();
        if (meets) {
            hand.comesToAnother();
        }
        return meets;
    }

    /** Counts the messages in the hand as taken by a line, a reader or a vCPU. */
    public void arrive() {
        if (!hand.isEmpty()) {
            hand.comes();
            hand.countTaken(hand.size());
        }
    }

    /** Counts the messages in the hand as taken, because they set a line's level; the ledger follows no lines. */
    public void becomeLevel() {
        if (!hand.isEmpty()) {
            arrive();
            hand.drop();
        }
    }

    /** Empties the hand. Its messages are lost unless {@link #put} or {@link #arrive} moved them. */
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

    /** Empties the hand because the GSI has no route. A line has no message: its lost interrupt is recorded. */
    public void settleAt(int gsi, String why) {
        if (hand.isEmpty()) {
            dropped.add("GSI", gsi, why);
        } else if (!hand.hasCome()) {
            loseHand(dropped.hasRoom(false) ? "GSI " + gsi + " " : "", why);
            hand.drop();
        }
    }

    // In one step

    /** Counts the messages of a slot as taken: a vCPU takes the interrupt. */
    public void take(MessagePlace place, int slot) {
        SourceSet there = place.filledAt(slot);
        if (there != null) {
            hand.countTaken(there.size());
            waiting.clear(place, slot);
        }
    }

    /** Counts the messages of a slot as ended, because the program dropped them. */
    public void end(MessagePlace place, int slot, String why) {
        remove(place, slot, why, true, true, null);
    }

    public void endAll(MessagePlace place, String why) {
        for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
            end(place, slot, why);
        }
    }

    /** Removes the messages of a slot. They count as ended if the program has ended their source, else as lost. */
    public void discard(MessagePlace place, int slot, String why) {
        remove(place, slot, why, false, true, null);
    }

    /** Does {@link #discard}, but a lost message is taken back if the program signals {@code event}. */
    public void discardUnlessSignalled(MessagePlace place, int slot, String why, MessageSource event) {
        remove(place, slot, why, false, true, event);
    }

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
        SourceSet there = place.filledAt(slot);
        if (there == null) {
            return;
        }
        for (int id = there.next(0); id >= 0; id = there.next(id + 1)) {
            MessageSource source = waiting.source(id);
            // The program as a source never ends, so a message that it may signal again is not ended.
            boolean maySignal = event != null && id == WaitingMessages.PROGRAM;
            boolean isEnd = asked || endsWithSource && source.isEnded() && !maySignal;
            Dropped.Sentence sentence = dropped.add(isEnd, why, source, place, slot);
            if (!isEnd && event != null) {
                owed.add(id, event, sentence);
            }
        }
        waiting.clear(place, slot);
    }

    // The program

    /**
     * Notes that the program reads the eventfd of a place. Device messages in this eventfd then wait in the program.
     * Signals that the program itself sent count as taken.
     */
    public void read(MessagePlace place, MessageSource event) {
        pick(place, 0);
        program.read(event);
    }

    /**
     * Notes that the program signals an eventfd, which has the id {@code source}. The signal passes on messages that
     * the program read from this eventfd, or messages of the eventfd's vectors; if there are none, it is a new message.
     */
    public void signal(int source, MessageSource event) {
        program.signal(source, event);
    }

    /** Begins a call that sends the program's last read messages, or a new one; {@link #sentByProgram} ends it. */
    public void sendByProgram() {
        program.send();
    }

    /** Ends {@link #sendByProgram}. Messages that no vCPU accepted stay with the program; a new one is not counted. */
    public void sentByProgram() {
        program.sent();
    }

    /** Ends the messages that the program has read from a source, because the program ended the source. */
    public void endRead(int source, String why) {
        program.end(source, why);
    }

    // Calls

    /** Begins a system call; {@code request} is an ioctl's number, else 0; {@code fd} is -1 without a descriptor. */
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

    /** Empties the hand after a call or a timer has thrown an exception. */
    public void threw() {
        settleRest(THREW);
    }

    /** Empties the hand. A message that the program was about to send stays with it. */
    private void settleRest(String why) {
        if (hand.sends()) {
            program.sent();
        } else {
            settle(why);
        }
    }

    /** Ends a call that only signals, as {@link #end} does but without {@link #audit}. */
    public void endSignal() {
        if (hand.isBusy()) {
            settleRest("it came nowhere");
        }
        dropped.endUnaudited();
    }

    /** Ends a call or another step, and audits the ledger. */
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

    /** The current call. A call that waits lets others run, and is the current one again by {@link #resume}. */
    Dropped.Call call() {
        return dropped.call();
    }

    void resume(Dropped.Call paused) {
        dropped.begin(paused.name(), paused.request(), paused.descriptor());
    }

    // Results

    /** @param text supplies a text about the caller for the end of each sentence about a lost or ended message */
    public void setCaller(Supplier<String> text) {
        dropped.setCaller(text);
    }

    /** The counts of messages. {@code waiting} is the sum, over all places, of the sources with messages. */
    public record Counts(long sent, long taken, long merged, long waiting, long ended, long lost) {}

    public Counts counts() {
        return new Counts(
                hand.sent(), hand.taken(), hand.merged(), waiting.count(), dropped.endedCount(), dropped.lostCount());
    }

    /** Returns a sentence for each waiting message. If {@code open}, skips messages that may wait. */
    public List<String> waiting(boolean open) {
        return waiting.texts(open);
    }

    /** Adds a lost interrupt of a line, or one that a device could not send. A full list allocates nothing. */
    public void lost(String what, int number, String why) {
        dropped.add(what, number, why);
    }

    /**
     * Returns a sentence for each lost message, also for those that the program should have sent. Call a supplier
     * without the kernel's lock.
     */
    public List<Supplier<String>> lost() {
        return Stream.<Supplier<String>>concat(
                        dropped.lost().stream(), program.forgotten().stream().map(text -> () -> text))
                .toList();
    }

    /** Returns the messages that the program dropped, in the form of {@link #lost}. */
    public List<Supplier<String>> ended() {
        return dropped.ended();
    }

    public Arrivals arrivals() {
        return arrivals;
    }
}
