/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Checks the rules that a whole tape must obey before its first call is replayed, because it may come from an untrusted
 * source. Gets each line once, in order, and uses bounded memory. For one thread.
 */
final class ReplayRules {
    /** The most guests that run at a time, each on its own thread. */
    static final int MOST_RUNNING = 1024;

    private final TapeReader reader;
    private final String here = System.getProperty("os.arch", "").replace("amd64", "x86_64");
    private final Map<String, Integer> open = new HashMap<>();
    private final Set<String> running = new HashSet<>();
    private int descriptors;
    private boolean begun;

    ReplayRules(TapeReader reader) {
        this.reader = reader;
    }

    /** @throws TapeException if the line breaks a rule; then no line of the tape is replayed */
    void require(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            begun = true;
            if (!header.architecture().equals(here)) {
                throw reader.flaw("field header.arch is " + header.architecture()
                        + ": tapes are replayed on their architecture, this is " + here);
            }
            return;
        }
        if (!begun) {
            throw reader.flaw("field header is missing: a tape begins with it");
        }
        TapeLine.Call call = (TapeLine.Call) line;
        switch (call.call()) {
            case "ioctl" -> requireWhole(call);
            case "fcntl" -> requireDuplicate(call);
            default -> requireData(call);
        }
        requireRun(call);
        requireMade(call);
        closed(call);
    }

    private void requireWhole(TapeLine.Call call) {
        @Nullable Request known = Arguments.of(call.request(), call.on());
        if (call.in().isEmpty() || call.cut() || Arguments.isValue(call.request(), known)) {
            return;
        }
        ByteBuffer in = call.in().get();
        int head = Arguments.headLength(call.request(), known);
        long wanted = in.limit() < head ? head : Arguments.length(call.request(), known, in);
        // libkvmirqtape.so records the elements of routing tables, and of other lists only the head.
        boolean headAlone = head > 0 && in.limit() == head && call.request() != Uapi.KVM_SET_GSI_ROUTING;
        if (in.limit() != wanted && !headAlone || wanted > Arguments.MOST) {
            throw reader.flaw(
                    "field in has " + in.limit() + " bytes: request " + Names.hex(call.request()) + " takes " + wanted);
        }
    }

    private void requireDuplicate(TapeLine.Call call) {
        boolean known = call.request() == Uapi.F_DUPFD
                || call.request() == Uapi.F_DUPFD_CLOEXEC
                || (call.request() == Uapi.F_GETFL || call.request() == Uapi.F_SETFL)
                        && call.made().isEmpty();
        if (!known) {
            throw reader.flaw("field request is " + call.request()
                    + ": of fcntl, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL and F_SETFL are replayed");
        }
    }

    private void requireData(TapeLine.Call call) {
        if (!call.isWrite() || call.in().isEmpty() || call.cut()) {
            return;
        }
        int length = call.in().get().limit();
        if (length != call.value()) {
            throw reader.flaw("field in has " + length + " bytes: " + call.call() + " has " + call.value());
        }
    }

    private void requireRun(TapeLine.Call call) {
        boolean run = call.call().equals("ioctl") && call.request() == Uapi.KVM_RUN;
        if (!call.begins()) {
            if (run) {
                running.remove(call.on());
            }
            return;
        }
        if (!run) {
            throw reader.flaw("field begins: of " + call.call() + ", only KVM_RUN is replayed so");
        }
        if (!running.add(call.on())) {
            throw reader.flaw("field begins: " + call.on() + " runs already");
        }
        if (running.size() > MOST_RUNNING) {
            throw reader.flaw("field begins: more than " + MOST_RUNNING + " guests run at once");
        }
    }

    // Descriptors

    private void requireMade(TapeLine.Call call) {
        Optional<String> made = call.made();
        if (made.isEmpty()) {
            return;
        }
        if (!isMaker(call, made.get()) || call.result() < 0 || call.begins()) {
            throw reader.flaw("field made is " + made.get() + ": this " + call.call() + " makes none");
        }
        if (FileKind.ofName(made.get()) == FileKind.MEMORY) {
            return;
        }
        if (descriptors == TapeReader.MOST_OPEN) {
            throw reader.flaw(
                    "field made is " + made.get() + ": more than " + TapeReader.MOST_OPEN + " descriptors are open");
        }
        descriptors++;
        open.merge(made.get(), 1, Integer::sum);
    }

    /** Whether the call, made again, opens a file of the kind in {@code made}. */
    private static boolean isMaker(TapeLine.Call call, String made) {
        FileKind type = FileKind.ofName(made);
        FileKind expected =
                switch (call.call()) {
                    case "open", "openat" -> call.path().map(FileKind::ofLink).orElse(FileKind.NONE);
                    case "eventfd" -> FileKind.EVENTFD;
                    case "epoll_create" -> FileKind.EPOLL;
                    case "mmap" -> FileKind.MEMORY;
                    case "ioctl" -> madeBy(call);
                    case "fcntl", "dup", "dup2", "dup3" -> made.equals(call.on()) ? type : FileKind.NONE;
                    default -> FileKind.NONE;
                };
        // Accept an unknown path here: the replay of the call reports it with the reason.
        boolean unknownPath = call.call().startsWith("open") && expected == FileKind.NONE;
        return unknownPath || expected != FileKind.NONE && expected == type;
    }

    private static FileKind madeBy(TapeLine.Call call) {
        return Arguments.makesAny(Arguments.of(call.request(), call.on()), call.in())
                .orElse(FileKind.NONE);
    }

    private void closed(TapeLine.Call call) {
        if (call.call().equals("close")) {
            closed(call.on());
        } else if (call.call().startsWith("dup")) {
            Optional.ofNullable(call.names().get("value")).ifPresent(this::closed);
        }
    }

    private void closed(String name) {
        if (open.containsKey(name)) {
            descriptors--;
            open.computeIfPresent(name, (file, count) -> count == 1 ? null : count - 1);
        }
    }
}
