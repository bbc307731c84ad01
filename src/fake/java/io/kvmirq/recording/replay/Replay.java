/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.backend.Libc;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.recording.tapes.TapeText;
import io.kvmirq.text.Foreign;
import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.TimeoutException;

/**
 * Makes the calls of a tape again, on any {@link Libc}, and compares the answers: results and errnos, counts of
 * eventfds, ready descriptors, the status of a line, exit reasons of guests. It does not compare answers that depend on
 * the processor (CPUID, registers, the state of chips), nor capabilities unrelated to interrupts.
 *
 * <p>Each call counts once, in one of three groups. Its answer equals that on the tape. Or it is passed over, because
 * the kernel does not model it or the tape lacks data for it. Or its answer is unknown, because it depends on a guest
 * that ran only on the tape, or on the order of overlapping calls. {@link #remarks} names the calls of the last two
 * groups. The first different answer ends the replay.
 *
 * <p>The replay makes all calls one by one in the order of the tape, on one thread. Only a guest whose memory is on the
 * tape runs on its own thread, from the begin line of its KVM_RUN to the end line. The replay waits up to {@value
 * Runs#PATIENCE_SECONDS} s for each event that the tape shows. While a guest runs, reads of state that the guest may
 * change are not compared. A KVM_RUN without the guest's memory is not made. It ends as recorded, and later reads of
 * guest state return the data of the tape.
 *
 * <p>The lines of two threads may be in the reverse order of the calls' effects. If the tape does not show which call
 * came first, the replay also tries the reverse order.
 *
 * <p>For one thread and one tape.
 */
public final class Replay implements Closeable {
    /** The outcome of a replay. */
    public sealed interface Outcome {
        /** The number of calls with the same answer as on the tape. */
        long calls();
    }

    /** Every compared answer was the same as on the tape. */
    public record Same(long calls) implements Outcome {}

    /**
     * A call had another answer. It is the last call that was made.
     *
     * @param call the recorded call as text, with its answer
     * @param open files by name
     */
    public record Diverged(long calls, long number, String call, String expected, String got, List<String> open)
            implements Outcome {
        public Diverged {
            Objects.requireNonNull(call, "call is null");
            Objects.requireNonNull(expected, "expected is null");
            Objects.requireNonNull(got, "got is null");
            call = Foreign.printable(call);
            expected = Foreign.printable(expected);
            got = Foreign.printable(got);
            open = open.stream().map(Foreign::printable).toList();
        }

        @Override
        public String toString() {
            return "call " + number + ": " + call + ": expected " + expected + ", got " + got + "; open: "
                    + String.join(", ", open);
        }
    }

    /** A call could not be made again, or cannot be made on this kernel. */
    public record Stopped(long calls, long number, String call, String reason) implements Outcome {
        public Stopped {
            Objects.requireNonNull(call, "call is null");
            Objects.requireNonNull(reason, "reason is null");
            call = Foreign.printable(call);
            reason = Foreign.printable(reason);
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
    private final ReplayAnswers answers;
    private final ReplayGuests guests = new ReplayGuests();
    private final ReplayCounts passed = new ReplayCounts("passed over");
    private final ReplayCounts unknown = new ReplayCounts("unknown");
    private final ReplayOrder order;
    private final UnsureEventFds unsure = new UnsureEventFds();

    private boolean ended = true;
    private long done;

    /** @param libc the kernel that makes the calls again, real or fake */
    public Replay(Libc libc) {
        this.files = new ReplayedFiles(libc);
        this.runs = new Runs(libc);
        this.calls = new ReplayedCalls(libc, files, runs);
        this.answers = new ReplayAnswers(files, runs);
        this.order = new ReplayOrder(calls, answers, (call, same) -> {
            if (same) {
                answered(call);
            } else {
                leaveUnknown(call);
            }
        });
    }

    /**
     * Replays a tape. It checks the whole tape before the first call, so it reads the file twice.
     *
     * @throws TapeException if the file is no tape of this machine's architecture; no call is made
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
            if (line.get() instanceof TapeLine.Call call) {
                guests.foresee(call);
                calls++;
            }
        }
        ended = reader.ended();
        return calls;
    }

    private Outcome run(TapeReader reader, long valid) throws IOException {
        ReplayRules rules = new ReplayRules(reader);
        ReplayWindow window = new ReplayWindow(reader);
        try {
            for (Optional<TapeLine> line = window.next(); line.isPresent(); line = window.next()) {
                rules.require(line.get());
                if (line.get() instanceof TapeLine.Call call) {
                    Optional<Outcome> end = order.wasMade(call) ? Optional.empty() : replay(call, window);
                    if (end.isPresent()) {
                        return end.get();
                    }
                    window.done(call);
                    unsure.closed(call);
                    done++;
                }
            }
        } catch (TapeException e) {
            return new Stopped(same(), done + 1, "?", CHANGED + ": " + e.getMessage());
        }
        return done == valid
                ? new Same(same())
                : new Stopped(same(), done, "?", CHANGED + " from " + valid + " calls to " + done);
    }

    private long same() {
        return done - passed.all() - unknown.all();
    }

    /**
     * The number of calls that were passed over, because the kernel does not model them or the tape lacks data that
     * they need.
     */
    public long passedOver() {
        return passed.all();
    }

    /**
     * The number of answers that depend on a guest that ran only on the tape, another process, or the order of calls.
     */
    public long unknown() {
        return unknown.all();
    }

    /** Sentences about calls of the tape that were not compared, whatever the outcome. */
    public List<String> remarks() {
        List<String> remarks = new ArrayList<>();
        passed.remark().ifPresent(remarks::add);
        unknown.remark().ifPresent(remarks::add);
        if (!ended) {
            remarks.add("the tape has no end: its recorder was killed or not closed, or the tape was cut; calls after"
                    + " its last line may be missing");
        }
        return remarks;
    }

    /** Whether the tape has its end line. If not, later calls may be missing. */
    public boolean isWhole() {
        return ended;
    }

    private Optional<Outcome> replay(TapeLine.Call call, ReplayWindow window) {
        if (ReplayGuests.isRun(call) && isOfTape(call)) {
            unknown.add(call);
            return Optional.empty();
        }
        if (!calls.isPossible(call)) {
            return passOver(call);
        }
        try {
            calls.transfers().setPatient(!guests.mayChange(call));
            order.prepare(call, window);
            ReplayedCalls.Answer answer = calls.make(call);
            if (answers.same(call, answer)) {
                return answered(call);
            }
            if (ReplayPassed.isSilent(call) || ReplayPassed.isOtherFile(call)) {
                return passOver(call);
            }
            return otherwise(call, answer, window);
        } catch (TimeoutException e) {
            String got = "still running after " + Runs.PATIENCE_SECONDS + " s";
            return Optional.of(diverged(call, got));
        } catch (UnsupportedOperationException e) {
            if (ReplayGuests.isRun(call)) {
                // The fake does not model this instruction, or a processor mode other than real mode.
                guests.ran(call.on());
                unknown.add(call);
                return Optional.empty();
            }
            return passOver(call);
        } catch (LackingException e) {
            if (files.find(call.on()).isEmpty()) {
                guests.inherited(call);
            }
            return passOver(call);
        } catch (CannotReplayException e) {
            return Optional.of(
                    new Stopped(same(), call.number(), new TapeText().render(call), String.valueOf(e.getMessage())));
        }
    }

    /** Whether a KVM_RUN is not replayed, because the tape lacks the guest's memory or the beginning of the call. */
    private boolean isOfTape(TapeLine.Call call) {
        if (!call.begins()) {
            boolean taken = guests.end(call.on()) || !runs.isRunning(call.on());
            if (taken) {
                guests.ran(call.on());
            }
            return taken;
        }
        boolean taken = calls.isMemoryUnknown() || guests.hasRun(call.on()) || files.lacks(call);
        if (taken) {
            guests.begin(call.on());
        }
        return taken;
    }

    private Optional<Outcome> answered(TapeLine.Call call) {
        guests.note(call);
        if (guests.asksChanged(call)) {
            calls.take(call);
            unknown.add(call);
        }
        return Optional.empty();
    }

    private Optional<Outcome> passOver(TapeLine.Call call) {
        guests.note(call);
        call.made().ifPresent(files::absent);
        passed.add(call);
        return Optional.empty();
    }

    /** Handles an answer that differs from the tape. */
    private Optional<Outcome> otherwise(TapeLine.Call call, ReplayedCalls.Answer answer, ReplayWindow window)
            throws TimeoutException {
        String got = answers.got(call, answer);
        if (guests.mayChange(call)) {
            return leaveUnknown(call);
        }
        boolean overlaps = order.overlaps(call, window);
        if (!overlaps && !unsure.has(call)) {
            return Optional.of(diverged(call, got));
        }
        unsure.add(call);
        return overlaps && order.fits(call, answer, window) ? answered(call) : leaveUnknown(call);
    }

    private Optional<Outcome> leaveUnknown(TapeLine.Call call) {
        guests.note(call);
        call.made().ifPresent(files::absentUnlessOpen);
        unknown.add(call);
        return Optional.empty();
    }

    private Diverged diverged(TapeLine.Call call, String got) {
        return new Diverged(
                same(), call.number(), new TapeText().render(call), answers.expected(call), got, files.names());
    }

    /** The descriptors of the tape's open files, by names such as {@code vm#1}. */
    public Map<String, Integer> descriptors() {
        return files.descriptors();
    }

    /** Closes the files that the calls left open. A guest that still runs ends with the process. */
    @Override
    public void close() {
        files.closeAll(runs.any());
    }
}
