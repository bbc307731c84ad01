/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.Errno;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteOrder;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * Reads a tape line by line, in bounded memory. It ignores unknown fields. In a call that {@code libkvmirqtape.so}
 * appended, it replaces descriptors by names, and addresses by 0. For one thread.
 *
 * <p>Several processes may append to one tape. If a line is cut, for example by a full disk or RLIMIT_FSIZE, {@link
 * #next} fails there, and later lines of all processes cannot be read.
 */
public final class TapeReader implements Closeable {
    private static final Set<String> CALLS = Set.of(
            "open",
            "openat",
            "close",
            "fcntl",
            "dup",
            "dup2",
            "dup3",
            "read",
            "write",
            "pread",
            "pwrite",
            "readv",
            "writev",
            "preadv",
            "pwritev",
            "preadv2",
            "pwritev2",
            "ioctl",
            "mmap",
            "munmap",
            "poll",
            "ppoll",
            "eventfd",
            "eventfd_read",
            "eventfd_write",
            "epoll_create",
            "epoll_ctl",
            "epoll_wait",
            "memory");

    /** The byte order of this machine, as in the header. */
    public static final String ORDER = ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? "little" : "big";

    /** The most descriptors that are open at a time. */
    public static final int MOST_OPEN = 1 << 16;

    private final TapeFields fields;
    private final Identities files = new Identities();
    private long calls;
    private boolean ended;
    private boolean endless;

    private TapeReader(TapeFields fields) {
        this.fields = fields;
    }

    /** @param in closed with the reader */
    public static TapeReader of(InputStream in) throws IOException {
        Objects.requireNonNull(in, "in is null");
        return new TapeReader(new TapeFields(in));
    }

    @Override
    public void close() throws IOException {
        fields.close();
    }

    /**
     * The next line; empty at the end.
     *
     * @throws TapeException if the text is not a line of a tape
     * @throws IOException if the source cannot be read
     */
    public Optional<TapeLine> next() throws IOException {
        if (!fields.next()) {
            return Optional.empty();
        }
        if (ended) {
            throw fields.flaw("a line after the tape's end");
        }
        if (fields.isTrue("end")) {
            ended = true;
            return next();
        }
        if (fields.has("header.pid")) {
            return Optional.of(header());
        }
        if (!fields.has("call")) {
            throw fields.flaw("not a tape: expected a line with field header, call or end");
        }
        boolean raw = fields.has("fd");
        endless |= raw;
        calls++;
        TapeLine.Call call = raw ? RawCall.named(rawCall(), calls, files) : call();
        if (files.descriptors() > MOST_OPEN) {
            throw fields.flaw("more than " + MOST_OPEN + " descriptors are open");
        }
        return Optional.of(call);
    }

    /** Whether the end line was read; always true for lines of {@code libkvmirqtape.so}, which have no end line. */
    public boolean ended() {
        return ended || endless;
    }

    /** An exception about the last line of {@link #next}. */
    public TapeException flaw(String what) {
        return fields.flaw(what);
    }

    private TapeLine header() {
        if (fields.has("header.order") && !fields.text("header.order").equals(ORDER)) {
            throw fields.flaw("field header.order is " + fields.text("header.order") + ": this machine is " + ORDER);
        }
        int pid = fields.integer("header.pid");
        files.forgotten(pid);
        endless |= !fields.has("header.backend"); // libkvmirqtape.so writes no backend
        return new TapeLine.Header(
                pid,
                fields.text("header.arch"),
                fields.text("header.kernel"),
                fields.text("header.program"),
                fields.has("header.backend") ? fields.text("header.backend") : "preload");
    }

    private RawCall rawCall() {
        long errno = fields.number("errno", 0);
        if (errno < 0 || errno > 4095) {
            throw fields.flaw("field errno is " + errno + ": expected 0-4095");
        }
        return new RawCall(
                fields.integer("pid"),
                fields.integer("tid"),
                fields.text("call"),
                fields.integer("fd"),
                fields.file(),
                fields.number("request", 0),
                fields.number("value", 0),
                fields.number("flags", 0),
                fields.bytes("in"),
                fields.bytes("out"),
                fields.bytes("data"),
                fields.isTrue("cut"),
                fields.required("result"),
                errno == 0 ? Optional.empty() : Optional.of(new Errno((int) errno)));
    }

    private TapeLine.Call call() {
        if (fields.required("seq") != calls) {
            throw fields.flaw("field seq is " + fields.required("seq") + ": expected " + calls);
        }
        if (!CALLS.contains(fields.text("call"))) {
            throw fields.flaw("field call is " + fields.text("call") + ": unknown here");
        }
        boolean begins = fields.isTrue("begins");
        return new TapeLine.Call(
                calls,
                fields.integer("pid"),
                fields.integer("tid"),
                fields.text("call"),
                fields.named("on", true).orElse(""),
                fields.optionalText("path"),
                fields.number("request", 0),
                fields.number("value", 0),
                fields.number("flags", 0),
                fields.bytes("in"),
                fields.bytes("out"),
                fields.bytes("data"),
                fields.names(),
                begins,
                fields.named("made", false),
                fields.isTrue("cut"),
                begins ? 0 : fields.required("result"),
                fields.optionalText("errno").map(name -> Errno.of(name)
                        .orElseThrow(() -> fields.flaw("field errno is " + name + ": unknown here"))));
    }
}
