/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.Errno;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/** Compares the answer of a replayed call with the answer on its tape, and writes both as text. */
final class ReplayAnswers {
    private final ReplayedFiles files;
    private final Runs runs;

    ReplayAnswers(ReplayedFiles files, Runs runs) {
        this.files = files;
        this.runs = runs;
    }

    boolean same(TapeLine.Call call, ReplayedCalls.Answer answer) {
        if (call.begins() || call.made().isPresent()) {
            return answer.result() >= 0;
        }
        if (call.errno().isPresent() || answer.result() < 0) {
            return call.errno().map(Errno::number).orElse(0) == -answer.result();
        }
        if (call.result() != answer.result()) {
            boolean looked = call.isPoll() || call.call().equals("epoll_wait");
            return looked && call.result() == 0 && runs.any();
        }
        return written(call, call.out().or(call::in)).equals(written(call, Optional.of(after(call, answer))));
    }

    private ByteBuffer after(TapeLine.Call call, ReplayedCalls.Answer answer) {
        return call.request() == Uapi.KVM_RUN ? files.run(call.on()).orElse(answer.out()) : answer.out();
    }

    String expected(TapeLine.Call call) {
        return call.made().isPresent() || call.errno().isPresent()
                ? call.made().orElseGet(() -> call.errno().map(Errno::toString).orElse(""))
                : text(call, call.result(), call.out());
    }

    String got(TapeLine.Call call, ReplayedCalls.Answer answer) {
        return text(call, answer.result(), Optional.of(after(call, answer)));
    }

    private static String text(TapeLine.Call call, long result, Optional<ByteBuffer> out) {
        if (result < 0) {
            return Errno.ofResult(result).toString();
        }
        String written = written(call, out.or(call::in));
        return written.isEmpty() ? String.valueOf(result) : result + " (" + written + ")";
    }

    /** The bytes written by the kernel that must equal those on the tape; empty if none must. */
    private static String written(TapeLine.Call call, Optional<ByteBuffer> out) {
        if (out.isEmpty()) {
            return "";
        }
        ByteBuffer bytes = out.get();
        if (call.taken().isPresent() && bytes.limit() >= Long.BYTES) {
            return "count " + Long.toUnsignedString(bytes.getLong(0));
        }
        if (call.request() == Uapi.KVM_IRQ_LINE_STATUS && bytes.limit() >= Uapi.KvmIrqLevel.SIZE) {
            return "status " + bytes.getInt(Uapi.KvmIrqLevel.IRQ);
        }
        if (call.request() == Uapi.KVM_RUN && bytes.limit() >= Arguments.RUN_EXIT) {
            return Names.exit(bytes);
        }
        return call.isPoll() ? ready(call, bytes) : "";
    }

    private static String ready(TapeLine.Call call, ByteBuffer bytes) {
        int length = Math.min(call.in().map(ByteBuffer::limit).orElse(0), bytes.limit());
        StringBuilder events = new StringBuilder("revents");
        for (int at = 0; at + Uapi.Pollfd.SIZE <= length; at += Uapi.Pollfd.SIZE) {
            events.append(' ').append(Names.hex(bytes.getShort(at + Uapi.Pollfd.REVENTS) & 0xffff));
        }
        return events.toString();
    }
}
