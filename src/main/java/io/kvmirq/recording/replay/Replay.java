/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.recording.tapes.TapeText;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeoutException;

/**
 * Makes the calls of a tape again, on any {@link Libc}, and compares the answers: results and errnos, counts of
 * eventfds, what is ready, the status of a line, why a guest left. What depends on the processor (CPUID, registers, the
 * state of chips) is not compared, nor are capabilities that have nothing to do with interrupts.
 *
 * <p>What a kernel without a model of it can be spared, and what points to memory that the tape does not hold, is
 * passed over: {@link #remarks} tells how often.
 *
 * <p>Calls are made one after another in the order of the tape, whatever thread they came from; but a guest runs on a
 * thread of its own from where its KVM_RUN began to where it ended. What the tape saw happen is waited for, up to
 * {@value Runs#PATIENCE_SECONDS} s. While a guest runs, reads of what it may change are not compared.
 *
 * <p>For one thread, once.
 */
public final class Replay implements Closeable {
    /**
     * How a replay ended.
     */
    public sealed interface Outcome {
        /** Calls that answered as on the tape. */
        long calls();
    }

    /** Every call answered as on the tape. */
    public record Same(long calls) implements Outcome {}

    /**
     * A call answered otherwise: the first one, and none after it was made.
     *
     * @param call as the tape has it, answer included
     * @param open files by name
     */
    public record Diverged(long calls, long number, String call, String expected, String got, List<String> open)
            implements Outcome {
        public Diverged {
            call = Names.printable(call);
            expected = Names.printable(expected);
            got = Names.printable(got);
            open = open.stream().map(Names::printable).toList();
        }

        @Override
        public String toString() {
            return "call " + number + ": " + call + ": expected " + expected + ", got " + got + "; open: "
                    + String.join(", ", open);
        }
    }

    /** A call could not be made again, or not on this kernel. */
    public record Stopped(long calls, long number, String call, String reason) implements Outcome {
        public Stopped {
            call = Names.printable(call);
            reason = Names.printable(reason);
        }

        @Override
        public String toString() {
            return "call " + number + ": " + call + ": " + reason + "; " + calls + " calls before it were replayed";
        }
    }

    private static final String CHANGED = "the file changed while it was replayed";

    private final ReplayedFiles files;
    private final Runs runs;
    private final ReplayedCalls calls;
    private final ReplayPassed passed = new ReplayPassed();
    private boolean ended = true;
    private boolean preloaded;
    private boolean stopped;

    /** @param libc the kernel that makes the calls again, real or fake */
    public Replay(Libc libc) {
        this.files = new ReplayedFiles(libc);
        this.runs = new Runs(libc);
        this.calls = new ReplayedCalls(libc, files, runs);
    }

    /**
     * Replays a whole tape, or nothing: it is read twice.
     *
     * @throws TapeException for what is not a tape of this machine's architecture, before any call is made
     * @throws IOException if the file cannot be read, or not twice
     */
    public Outcome run(Path tape) throws IOException {
        if (!Files.readAttributes(tape, BasicFileAttributes.class).isRegularFile()) {
            throw new FileSystemException(tape.toString(), null, "not a regular file: a replay reads it twice");
        }
        long valid;
        try (TapeReader reader = open(tape)) {
            valid = validate(reader);
        }
        try (TapeReader reader = open(tape)) {
            return run(reader, valid);
        }
    }

    private static TapeReader open(Path tape) throws IOException {
        return TapeReader.of(new BufferedInputStream(Files.newInputStream(tape), 1 << 16));
    }

    private long validate(TapeReader reader) throws IOException {
        ReplayRules rules = new ReplayRules(reader);
        Optional<TapeLine> line = reader.next();
        if (line.isEmpty()) {
            throw reader.flaw("the tape is empty");
        }
        long calls = 0;
        for (; line.isPresent(); line = reader.next()) {
            rules.require(line.get());
            preloaded |= line.get() instanceof TapeLine.Header header
                    && header.backend().equals("preload");
            calls += line.get() instanceof TapeLine.Call ? 1 : 0;
        }
        ended = reader.ended();
        return calls;
    }

    private Outcome run(TapeReader reader, long valid) throws IOException {
        ReplayRules rules = new ReplayRules(reader);
        long done = 0;
        try {
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                rules.require(line.get());
                if (line.get() instanceof TapeLine.Call call) {
                    Optional<Outcome> end = replay(call, done);
                    if (end.isPresent()) {
                        return end.get();
                    }
                    done++;
                }
            }
        } catch (TapeException e) {
            return new Stopped(done - passed.all(), done + 1, "?", CHANGED + ": " + e.getMessage());
        }
        return done == valid
                ? new Same(done - passed.all())
                : new Stopped(done - passed.all(), done, "?", CHANGED + " from " + valid + " calls to " + done);
    }

    /** Further sentences about the replayed tape, whatever the outcome. */
    public List<String> remarks() {
        List<String> remarks = new ArrayList<>();
        passed.remark().ifPresent(remarks::add);
        if (!ended) {
            remarks.add("the tape has no end: its recorder was killed or not closed, or the tape was cut; calls after"
                    + " its last line may be missing");
        }
        if (stopped && preloaded) {
            remarks.add("the tape is of 'kvmirq tape', which records neither guest memory nor every call; 'kvmirq"
                    + " selftest --record' and io.kvmirq.recording.Recorder record what a replay needs");
        }
        return remarks;
    }

    /** Whether the tape that was replayed has its end. If not, calls after its last line may be missing. */
    public boolean isWhole() {
        return ended;
    }

    private Optional<Outcome> replay(TapeLine.Call call, long done) {
        if (ReplayPassed.points(call)) {
            passed.add(call);
            return Optional.empty();
        }
        try {
            ReplayedCalls.Answer answer = calls.make(call);
            if (same(call, answer)) {
                return Optional.empty();
            }
            if (ReplayPassed.isSilent(call)) {
                passed.add(call);
                return Optional.empty();
            }
            requireKnown(call);
            return Optional.of(diverged(call, done, text(call, call.result(), call.out(), true), got(call, answer)));
        } catch (TimeoutException e) {
            String got = "still running after " + Runs.PATIENCE_SECONDS + " s";
            return Optional.of(diverged(call, done, text(call, call.result(), call.out(), true), got));
        } catch (UnsupportedOperationException e) {
            if (ReplayPassed.isSpared(call)) {
                passed.add(call);
                return Optional.empty();
            }
            return Optional.of(stopped(call, done, e));
        } catch (CannotReplayException e) {
            return Optional.of(stopped(call, done, e));
        }
    }

    /** Refuses a call whose answer says nothing about interrupts. */
    private static void requireKnown(TapeLine.Call call) {
        if (call.request() == Uapi.KVM_ENABLE_CAP && call.in().isPresent()) {
            int capability = call.in().get().getInt(Uapi.KvmEnableCap.CAP);
            if (!UapiTable.isCapability(capability)) {
                throw new CannotReplayException(
                        "capability " + capability + ", which has nothing to do with interrupts");
            }
        }
    }

    private Stopped stopped(TapeLine.Call call, long done, RuntimeException e) {
        stopped = true;
        return new Stopped(
                done - passed.all(), call.number(), new TapeText().render(call), String.valueOf(e.getMessage()));
    }

    private Diverged diverged(TapeLine.Call call, long done, String expected, String got) {
        return new Diverged(
                done - passed.all(), call.number(), new TapeText().render(call), expected, got, files.names());
    }

    // Comparison

    private boolean same(TapeLine.Call call, ReplayedCalls.Answer answer) {
        if (call.begins() || call.made().isPresent()) {
            return answer.result() >= 0;
        }
        if (call.errno().isPresent() || answer.result() < 0) {
            return call.errno().map(Errno::number).orElse(0) == -answer.result();
        }
        if (call.result() != answer.result()) {
            boolean looked = call.call().equals("ppoll") || call.call().equals("epoll_wait");
            return looked && call.result() == 0 && runs.any();
        }
        return written(call, call.out().or(call::in)).equals(written(call, Optional.of(after(call, answer))));
    }

    private ByteBuffer after(TapeLine.Call call, ReplayedCalls.Answer answer) {
        return call.request() == Uapi.KVM_RUN ? files.run(call.on()).orElse(answer.out()) : answer.out();
    }

    private String got(TapeLine.Call call, ReplayedCalls.Answer answer) {
        return text(call, answer.result(), Optional.of(after(call, answer)), false);
    }

    private static String text(TapeLine.Call call, long result, Optional<ByteBuffer> out, boolean recorded) {
        if (recorded && (call.made().isPresent() || call.errno().isPresent())) {
            return call.made().orElseGet(() -> call.errno().map(Errno::toString).orElse(""));
        }
        if (result < 0) {
            return Errno.ofResult(result).toString();
        }
        String written = written(call, out.or(call::in));
        return written.isEmpty() ? String.valueOf(result) : result + " (" + written + ")";
    }

    /** The bytes that the kernel wrote and that must be the same; empty if none must. */
    private static String written(TapeLine.Call call, Optional<ByteBuffer> out) {
        if (out.isEmpty()) {
            return "";
        }
        ByteBuffer bytes = out.get();
        boolean count = call.call().equals("read") || call.call().equals("preadv2");
        if (count && call.result() == Long.BYTES && bytes.limit() >= Long.BYTES) {
            return "count " + Long.toUnsignedString(bytes.getLong(0));
        }
        if (call.request() == Uapi.KVM_IRQ_LINE_STATUS && bytes.limit() >= Uapi.KvmIrqLevel.SIZE) {
            return "status " + bytes.getInt(Uapi.KvmIrqLevel.IRQ);
        }
        if (call.request() == Uapi.KVM_RUN && bytes.limit() >= Arguments.RUN_EXIT) {
            return Names.exit(bytes);
        }
        return call.call().equals("ppoll") ? ready(call, bytes) : "";
    }

    private static String ready(TapeLine.Call call, ByteBuffer bytes) {
        int length = Math.min(call.in().map(ByteBuffer::limit).orElse(0), bytes.limit());
        StringBuilder events = new StringBuilder("revents");
        for (int at = 0; at + Uapi.Pollfd.SIZE <= length; at += Uapi.Pollfd.SIZE) {
            events.append(' ').append(Names.hex(bytes.getShort(at + Uapi.Pollfd.REVENTS) & 0xffff));
        }
        return events.toString();
    }

    /** The descriptors that stand for the files of the tape that are open, by names such as {@code vm#1}. */
    public Map<String, Integer> descriptors() {
        return files.descriptors();
    }

    /** Closes what the calls left open. Guests that run are left to the end of the process. */
    @Override
    public void close() {
        files.closeAll(runs.any());
    }
}
