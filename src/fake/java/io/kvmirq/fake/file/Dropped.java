/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.uapi.UapiTable;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The lost and ended messages, one sentence each, and the current call. */
final class Dropped {
    /** The most sentences that are kept; more messages are only counted. */
    private static final int MOST_SENTENCES = 64;

    /** Values in place of an ioctl's request number: no current call, or a write(2). */
    private static final long NONE = -1;

    private static final long WRITE = -2;

    /** A system call: {@code request} is the number of an ioctl, 0, or a constant above. */
    record Call(String name, long request, int descriptor) {
        private String text() {
            if (request == NONE) {
                return "outside of a call";
            }
            String of = descriptor < 0 ? "" : " of descriptor " + descriptor;
            if (request == WRITE) {
                return "call write" + of;
            }
            String names = UapiTable.find(request).stream()
                    .map(UapiTable.Request::name)
                    .distinct()
                    .collect(Collectors.joining(" or "));
            return "call " + (names.isEmpty() ? name : names) + of;
        }
    }

    /** The text is made when it is read, because the name of a request needs the reflection of {@link UapiTable}. */
    record Sentence(String start, Call call, String end) implements Supplier<String> {
        @Override
        public String get() {
            return start + call.text() + end;
        }
    }

    private final List<Sentence> lost = new ArrayList<>();
    /** Lost interrupts that are no messages, or that were never sent. */
    private final List<String> others = new ArrayList<>();

    private final List<Sentence> ended = new ArrayList<>();
    private Supplier<String> caller = () -> "";
    /** The current call, unless it is a write(2): a signal stores no reference here. */
    private String call = "";

    private long request = NONE;
    private int descriptor;
    /** The descriptor of the first write since the last audit; -1 if there was none. */
    private int unaudited = -1;

    private long lostCount;
    private long endedCount;

    /** @param text supplies the caller's text for the end of each sentence */
    void setCaller(Supplier<String> text) {
        caller = text;
    }

    /** A system call begins; {@code of} is the number of an ioctl or 0, and {@code fd} may be -1. */
    void begin(String name, long of, int fd) {
        call = name;
        request = of;
        descriptor = fd;
    }

    void beginWrite(int fd) {
        request = WRITE;
        descriptor = fd;
    }

    Call call() {
        return new Call(call, request, descriptor);
    }

    /** Ends a call that an audit has checked. */
    void end() {
        request = NONE;
        unaudited = -1;
    }

    /** Ends a write(2), which no audit checks. */
    void endUnaudited() {
        request = NONE;
        if (unaudited < 0) {
            unaudited = descriptor;
        }
    }

    /** The text about an earlier write(2) that may have lost the message; empty if there was none. */
    String unauditedText() {
        return unaudited < 0 ? "" : ", in this call or since the write of descriptor " + unaudited + " before it";
    }

    /** Adds a message that waited in a slot. Returns its sentence; null if there are too many. */
    @Nullable
    Sentence add(boolean isEnded, String why, MessageSource source, MessagePlace place, int slot) {
        Sentence sentence = hasRoom(isEnded) ? sentence(why, source, place.name(slot)) : null;
        count(isEnded, sentence);
        return sentence;
    }

    /** Adds a lost message that was in the hand. */
    void lose(String what, String why, MessageSource source, MessagesInFlight hand) {
        count(false, hasRoom(false) ? sentence(what + why, source, hand.lastPlace()) : null);
    }

    /** Adds an ended message that was in no place. */
    void end(String why, MessageSource source) {
        count(true, hasRoom(true) ? sentence(why, source, "hardware, which dropped it") : null);
    }

    private void count(boolean isEnded, @Nullable Sentence sentence) {
        if (isEnded) {
            endedCount++;
        } else {
            lostCount++;
        }
        if (sentence != null) {
            (isEnded ? ended : lost).add(sentence);
        }
    }

    private Sentence sentence(String why, MessageSource source, String place) {
        String start = why + "; source " + source + ", last place " + place + ", ";
        return new Sentence(start, call(), callerText());
    }

    /** Removes a lost message that was found again, and its sentence if there is one. */
    void found(@Nullable Sentence sentence) {
        lostCount--;
        if (sentence != null) {
            lost.remove(sentence);
        }
    }

    long lostCount() {
        return lostCount;
    }

    long endedCount() {
        return endedCount;
    }

    /** Whether one more sentence can be kept. */
    boolean hasRoom(boolean isEnded) {
        return (isEnded ? ended : lost).size() < MOST_SENTENCES;
    }

    /** Adds a lost interrupt that is no message, or that was never sent. */
    void add(String what, int number, String why) {
        if (others.size() < MOST_SENTENCES) {
            others.add(what + " " + number + " " + why + callerText());
        }
    }

    /** The caller's text. An exception of its supplier must not fail the call. */
    private String callerText() {
        try {
            return caller.get();
        } catch (RuntimeException e) {
            return ", at a line that is not known: " + e;
        }
    }

    List<Supplier<String>> lost() {
        return Stream.<Supplier<String>>concat(lost.stream(), others.stream().map(text -> () -> text))
                .toList();
    }

    List<Supplier<String>> ended() {
        return List.copyOf(ended);
    }
}
