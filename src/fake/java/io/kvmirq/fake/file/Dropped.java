/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.uapi.UapiTable;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The messages that reached no vCPU and wait nowhere, a sentence each, and the call that is under way. */
final class Dropped {
    /** More are only counted: a test that loses so many has seen enough. */
    private static final int MOST = 64;

    /** In place of the number of an ioctl: no call is under way, or a write(2). */
    private static final long NONE = -1;

    private static final long WRITE = -2;

    private final List<String> lost = new ArrayList<>();
    /** Interrupts that are no messages, or that were not sent. */
    private final List<String> others = new ArrayList<>();

    private final List<String> ended = new ArrayList<>();
    private Supplier<String> caller = () -> "";
    /** Of a call that is no write(2): each signal is one, and stores no reference here. */
    private String call = "";

    private long request = NONE;
    private int descriptor;
    /** Of the first call since the last audit that had none; -1 for none. */
    private int unaudited = -1;

    private long lostCount;
    private long endedCount;

    /** @param text of the caller, at the end of each sentence */
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

    String call() {
        return call;
    }

    long request() {
        return request;
    }

    int descriptor() {
        return descriptor;
    }

    /** An audited call ends. */
    void end() {
        request = NONE;
        unaudited = -1;
    }

    /** A write(2) ends. */
    void endUnaudited() {
        request = NONE;
        if (unaudited < 0) {
            unaudited = descriptor;
        }
    }

    /** Since when a message may have vanished that an audit misses, if it is not since this call. */
    String unauditedText() {
        return unaudited < 0 ? "" : ", in this call or since the write of descriptor " + unaudited + " before it";
    }

    /** A message that waited in a slot. Returns the sentence about it, empty if there are too many. */
    String add(boolean isEnded, String why, MessageSource source, MessagePlace place, int slot) {
        String sentence = hasRoom(isEnded) ? sentence(why, source, place.name(slot)) : "";
        count(isEnded, sentence);
        return sentence;
    }

    /** A message that was on its way. */
    void lose(String what, String why, MessageSource source, Hand hand) {
        count(false, hasRoom(false) ? sentence(what + why, source, hand.lastPlace()) : "");
    }

    /** A message that was nowhere. */
    void end(String why, MessageSource source) {
        count(true, hasRoom(true) ? sentence(why, source, "hardware, which dropped it") : "");
    }

    private void count(boolean isEnded, String sentence) {
        if (isEnded) {
            endedCount++;
        } else {
            lostCount++;
        }
        if (!sentence.isEmpty()) {
            (isEnded ? ended : lost).add(sentence);
        }
    }

    private String sentence(String why, MessageSource source, String place) {
        return why + "; source " + source + ", last place " + place + ", " + callText() + callerText();
    }

    /** A lost message is there again, with the sentence about it, which may be empty. */
    void found(String sentence) {
        lostCount--;
        lost.remove(sentence);
    }

    long lostCount() {
        return lostCount;
    }

    long endedCount() {
        return endedCount;
    }

    /** Whether one more is kept. */
    boolean hasRoom(boolean isEnded) {
        return (isEnded ? ended : lost).size() < MOST;
    }

    /** An interrupt that is no message, or that was not sent. */
    void add(String what, int number, String why) {
        if (others.size() < MOST) {
            others.add(what + " " + number + " " + why + callerText());
        }
    }

    /** A text that is not known stops no call. */
    private String callerText() {
        try {
            return caller.get();
        } catch (RuntimeException e) {
            return ", at a line that is not known: " + e;
        }
    }

    private String callText() {
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
        return "call " + (names.isEmpty() ? call : names) + of;
    }

    List<String> lost() {
        return Stream.concat(lost.stream(), others.stream()).toList();
    }

    List<String> ended() {
        return List.copyOf(ended);
    }
}
