/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.Errno;
import io.kvmirq.text.Foreign;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import java.util.Optional;
import java.util.StringJoiner;

/**
 * A tape as text, a line for each call: {@code vm#1 KVM_IRQFD fd=eventfd#3 gsi=24 = EBUSY}. For one
 * thread.
 */
public final class TapeText {
    /** The most routes of one table that are listed. */
    public static final int ROUTE_LIMIT = 16;

    /** The most bytes of a transfer that are shown. */
    private static final int FEW_BYTES = 16;

    private final StructText structs;
    private Optional<Integer> firstPid = Optional.empty();

    /** Lists only the first entries of a long routing table. */
    public TapeText() {
        this(ROUTE_LIMIT);
    }

    /** @param routeLimit the most entries of one routing table to list */
    public TapeText(int routeLimit) {
        this.structs = new StructText(routeLimit);
    }

    /** The text of a line, without a line end. Lines of later processes than the first begin with the process id. */
    public String render(TapeLine line) {
        Objects.requireNonNull(line, "line is null");
        return Foreign.printable(text(line));
    }

    private String text(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            return "# " + header.program() + " as process " + header.pid() + " on Linux " + header.kernel() + " "
                    + header.architecture()
                    + (header.backend().equals("preload") ? "" : ", backend " + header.backend());
        }
        TapeLine.Call call = (TapeLine.Call) line;
        if (firstPid.isEmpty()) {
            firstPid = Optional.of(call.pid());
        }
        String process = firstPid.get() == call.pid() ? "" : "[" + call.pid() + "] ";
        return process
                + switch (call.call()) {
                    case "ioctl" -> ioctl(call);
                    case "open", "openat" -> call.call() + " " + call.path().orElse("?") + result(call);
                    case "eventfd" ->
                        "eventfd " + call.value() + Names.flags(call.flags(), Names.EVENTFD) + result(call);
                    case "fcntl", "dup", "dup2", "dup3" -> duplicate(call);
                    case "poll", "ppoll" -> poll(call);
                    case "mmap" -> (call.on() + " mmap length=").strip() + call.value() + result(call);
                    case "memory" ->
                        call.in().isEmpty()
                                ? call.on() + " not known from here"
                                : call.on() + " written at " + Names.hex(call.value()) + ": "
                                        + call.in().map(ByteBuffer::limit).orElse(0) + " bytes";
                    default ->
                        call.isRead() || call.isWrite() ? data(call) : call.on() + " " + call.call() + result(call);
                };
    }

    private static String result(TapeLine.Call call) {
        return call.begins()
                ? " begins"
                : " = "
                        + call.made()
                                .or(() -> call.errno().map(Errno::toString))
                                .orElseGet(() -> String.valueOf(call.result()));
    }

    private static String duplicate(TapeLine.Call call) {
        return call.on()
                + switch (call.call()) {
                    case "fcntl" -> " " + command(call);
                    case "dup" -> " dup";
                    default -> " " + call.call() + " " + call.value() + Names.flags(call.flags(), Names.EVENTFD);
                }
                + result(call);
    }

    private static String command(TapeLine.Call call) {
        return switch ((int) call.request()) {
            case Uapi.F_DUPFD -> "F_DUPFD " + call.value();
            case Uapi.F_DUPFD_CLOEXEC -> "F_DUPFD_CLOEXEC " + call.value();
            case Uapi.F_GETFD -> "F_GETFD";
            case Uapi.F_SETFD -> "F_SETFD " + call.value();
            case Uapi.F_GETFL -> "F_GETFL";
            case Uapi.F_SETFL -> "F_SETFL " + Names.hex(call.value());
            default -> "fcntl " + call.request() + " " + call.value();
        };
    }

    /** Shows the count that an eventfd's read returned or its write added, or else a few bytes. */
    private static String data(TapeLine.Call call) {
        boolean placed = call.call().startsWith("p") && !call.call().endsWith("2");
        String verb = call.on() + " " + call.call() + (placed ? " at " + Names.hex(call.flags()) : "");
        Optional<ByteBuffer> bytes = call.isRead() ? call.out() : call.in();
        FileKind on = FileKind.ofName(call.on());
        if (on != FileKind.EVENTFD && on != FileKind.NONE) {
            return verb
                    + bytes.map(some -> " " + (some.limit() > FEW_BYTES ? some.limit() + " bytes" : hex(some)))
                            .orElse("")
                    + (call.cut() ? " (cut)" : "")
                    + result(call);
        }
        if (call.taken().isPresent()) {
            return verb + " = " + Long.toUnsignedString(call.taken().getAsLong());
        }
        return verb
                + bytes.filter(eight -> call.isWrite() && eight.limit() == Long.BYTES)
                        .map(eight -> " " + Long.toUnsignedString(eight.getLong(0)))
                        .orElse("")
                + result(call);
    }

    private static String hex(ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < bytes.limit(); i++) {
            text.append(String.format("%02x", bytes.get(i) & 0xff));
        }
        return text.toString();
    }

    private static String poll(TapeLine.Call call) {
        StringJoiner asked = new StringJoiner(" ");
        call.in().ifPresent(bytes -> poll(call, bytes, Uapi.Pollfd.EVENTS, asked));
        StringJoiner ready = new StringJoiner(" ");
        call.out().ifPresent(bytes -> poll(call, bytes, Uapi.Pollfd.REVENTS, ready));
        String timeout = call.value() < 0 ? "" : " timeout=" + duration(call.value());
        String answer = call.result() > 0 ? " = " + ready : result(call);
        return call.call() + " " + asked + (call.cut() ? " (cut)" : "") + timeout + answer;
    }

    private static String duration(long nanos) {
        return nanos % 1_000_000 == 0 ? nanos / 1_000_000 + "ms" : nanos + "ns";
    }

    private static void poll(TapeLine.Call call, ByteBuffer bytes, int eventsAt, StringJoiner to) {
        for (int at = 0; at + Uapi.Pollfd.SIZE <= bytes.limit(); at += Uapi.Pollfd.SIZE) {
            int events = bytes.getShort(at + eventsAt) & 0xffff;
            if (events != 0) {
                String name = events == Uapi.POLLIN ? "IN" : events == Uapi.POLLNVAL ? "NVAL" : Names.hex(events);
                to.add(call.names().getOrDefault(String.valueOf(at), String.valueOf(bytes.getInt(at + Uapi.Pollfd.FD)))
                        + ":" + name);
            }
        }
    }

    // ioctl

    private String ioctl(TapeLine.Call call) {
        Optional<UapiTable.Request> request = request(call);
        String name = request.map(UapiTable.Request::name).orElseGet(() -> "ioctl " + Names.hex(call.request()));
        return call.on() + " " + name + argument(call, request) + (call.cut() ? " (cut)" : "") + ioctlResult(call);
    }

    static Optional<UapiTable.Request> request(TapeLine.Call call) {
        return Optional.ofNullable(Arguments.of(call.request(), call.on()));
    }

    private String argument(TapeLine.Call call, Optional<UapiTable.Request> request) {
        Optional<UapiTable.Struct> struct = request.flatMap(UapiTable.Request::argument);
        if (call.request() == Uapi.KVM_RUN) {
            boolean immediate = call.in()
                    .filter(run -> run.limit() > Uapi.KvmRun.IMMEDIATE_EXIT && run.get(Uapi.KvmRun.IMMEDIATE_EXIT) != 0)
                    .isPresent();
            return immediate ? " immediate_exit" : "";
        }
        boolean reads = request.map(UapiTable.Request::reads).orElse(call.request() >>> 30 != 2);
        Optional<ByteBuffer> bytes = reads ? call.in() : call.out().or(call::in);
        if (bytes.isPresent() && request.filter(UapiTable.Request::text).isPresent()) {
            return " "
                    + StandardCharsets.UTF_8
                            .decode(bytes.get().duplicate())
                            .toString()
                            .replaceFirst("\\x00.*", "");
        }
        if (bytes.isPresent()) {
            return struct.filter(known -> !known.fields().isEmpty())
                    .map(known -> structs.of(known, call, bytes.get()))
                    .orElseGet(() -> StructText.raw(bytes.get()));
        }
        if (struct.isPresent()) {
            return " (argument unreadable)";
        }
        Optional<String> named = request.map(UapiTable.Request::values).map(values -> values.get((int) call.value()));
        return call.value() == 0
                        && named.isEmpty()
                        && request.filter(known -> known.makes() != FileKind.NONE)
                                .isEmpty()
                ? ""
                : " " + named.orElseGet(() -> Long.toUnsignedString(call.value()));
    }

    private static String ioctlResult(TapeLine.Call call) {
        if (call.request() == Uapi.KVM_RUN) {
            return result(call)
                    + call.out()
                            .filter(run -> run.limit() >= Arguments.RUN_EXIT)
                            .map(run -> " " + Names.exit(run))
                            .orElse("");
        }
        if (call.request() == Uapi.KVM_IRQ_LINE_STATUS && call.result() >= 0) {
            return result(call)
                    // Without out bytes the kernel changed nothing: use the in bytes.
                    + call.out()
                            .or(call::in)
                            .filter(bytes -> bytes.limit() >= Uapi.KvmIrqLevel.SIZE)
                            .map(bytes -> " status=" + bytes.getInt(Uapi.KvmIrqLevel.IRQ))
                            .orElse("");
        }
        return result(call);
    }
}
