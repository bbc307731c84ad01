/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Masking;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.Struct;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Writes the lines of a tape as JSON, without Jackson. What the recorder calls allocates only when the buffer grows.
 * For one thread at a time; the recorder holds a lock.
 */
public final class TapeWriter extends JsonLines {
    private long calls;
    private boolean closed;
    /**
     * The place of each name on the current line: an offset in {@code in}, {@link Masking#IN_DATA} or {@link
     * Masking#IN_VALUE}.
     */
    private final int[] namedAt = new int[Arguments.MOST_FDS];

    private final String[] nameOf = new String[Arguments.MOST_FDS];
    private int named;
    /** What the last line says of its process, thread, call and file; mostly the next line says the same. */
    private byte[] opening = {};

    private int lastPid;
    private int lastTid;
    private String lastCall = "";
    private String lastOn = "";

    /** @param out closed with the writer */
    public TapeWriter(OutputStream out) {
        super(out);
    }

    /**
     * Writes one line and numbers calls from 1. After an I/O error it drops lines; {@link #flush} and {@link #close}
     * throw the first error.
     */
    public void write(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            write(header);
            return;
        }
        TapeLine.Call call = (TapeLine.Call) line;
        begin(call.pid(), call.tid(), call.call(), call.on());
        call.path().ifPresent(path -> text("path", path));
        Optional<UapiTable.Request> request = Optional.ofNullable(Arguments.of(call.request(), call.on()));
        arguments(call.request(), request.map(UapiTable.Request::name).orElse(""), call.value(), call.flags());
        new TreeMap<>(call.names()).forEach((place, name) -> name(place(place), name));
        call.in().ifPresent(bytes -> {
            bytes("in", bytes, bytes.limit());
            request.flatMap(UapiTable.Request::argument).ifPresent(struct -> fields(struct, bytes, bytes.limit()));
        });
        call.out().ifPresent(bytes -> bytes("out", bytes, bytes.limit()));
        call.data().ifPresent(bytes -> bytes("data", bytes, bytes.limit()));
        names();
        if (call.cut()) {
            flag("cut");
        }
        call.made().ifPresent(made -> text("made", made));
        if (call.begins()) {
            flag("begins");
            endLine();
        } else {
            end(call.result(), call.errno().orElse(null));
        }
    }

    void write(TapeLine.Header header) {
        raw("{\"header\":{\"pid\":");
        decimal(header.pid());
        text("program", header.program());
        text("arch", header.architecture());
        text("order", TapeReader.ORDER);
        text("kernel", header.kernel());
        text("backend", header.backend());
        raw("}}");
        lineEnd();
    }

    /** Writes the end line with the number of calls, unless it is written; flushes and closes the stream. */
    @Override
    public void close() throws IOException {
        if (!closed) {
            closed = true;
            raw("{\"end\":true,\"calls\":");
            decimal(calls);
            raw("}");
            lineEnd();
        }
        super.close();
    }

    // Parts of a line

    void begin(int pid, int tid, String call, String on) {
        calls++;
        named = 0;
        raw("{\"seq\":");
        decimal(calls);
        if (tid == lastTid && pid == lastPid && on.equals(lastOn) && call.equals(lastCall)) {
            again(opening);
            return;
        }
        int mark = mark();
        number("pid", pid);
        number("tid", tid);
        text("call", call);
        if (!on.isEmpty()) {
            text("on", on);
        }
        lastPid = pid;
        lastTid = tid;
        lastCall = call;
        lastOn = on;
        opening = since(mark);
    }

    /** @param name of the request, for people */
    void arguments(long request, String name, long value, long flags) {
        if (!name.isEmpty()) {
            text("name", name);
        }
        if (request != 0) {
            number("request", request);
        }
        number("value", value);
        if (flags != 0) {
            number("flags", flags);
        }
    }

    private static int place(String place) {
        return switch (place) {
            case "data" -> Masking.IN_DATA;
            case "value" -> Masking.IN_VALUE;
            default -> Integer.parseInt(place);
        };
    }

    /** Names the descriptor or address at a place. Call it before {@link #fields}, which then writes the name. */
    void name(int place, String name) {
        if (named < namedAt.length) {
            namedAt[named] = place;
            nameOf[named] = name;
            named++;
        }
    }

    void names() {
        if (named == 0) {
            return;
        }
        beginObject("names");
        for (int i = 0; i < named; i++) {
            if (namedAt[i] < 0) {
                text(namedAt[i] == Masking.IN_DATA ? "data" : "value", nameOf[i]);
            } else {
                numberKey(namedAt[i]);
                quoted(nameOf[i]);
            }
        }
        endObject();
    }

    void end(long result, @Nullable Errno errno) {
        number("result", result);
        if (errno != null) {
            text("errno", errno.toString());
        }
        endLine();
    }

    void endLine() {
        endObject();
        lineEnd();
    }

    /** Writes a structure by the names of its fields. {@link TapeReader} ignores it and takes the bytes. */
    void fields(Struct struct, ByteBuffer bytes, int length) {
        if (length < struct.size() || struct.fields().isEmpty()) {
            return;
        }
        beginObject("fields");
        fieldsAt(struct, bytes, 0, length);
        endObject();
        for (int i = 0; i < struct.fields().size(); i++) {
            if (struct.fields().get(i).elements().isPresent()) {
                elements(struct.fields().get(i).elements().get(), bytes, struct.size(), length);
            }
        }
    }

    private void elements(Struct element, ByteBuffer bytes, int start, int length) {
        key("entries");
        put('[');
        for (int at = start; at + element.size() <= length; at += element.size()) {
            beginElement(at == start);
            fieldsAt(element, bytes, at, length);
            endObject();
        }
        put(']');
    }

    private void fieldsAt(Struct struct, ByteBuffer bytes, int start, int length) {
        List<Field> fields = struct.fields();
        for (int i = 0; i < fields.size(); i++) {
            Field field = fields.get(i);
            int asked = start + field.when().at();
            int offset = start + field.offset();
            boolean holds = field.when().at() < 0 || field.when().holds(bytes.getInt(asked));
            if (!holds || field.each() != 0 || offset + field.size() > length) {
                continue;
            }
            int name = start == 0 ? named(offset) : -1;
            if (name >= 0) {
                text(field.path(), nameOf[name]);
                continue;
            }
            switch (field.size()) {
                case 1 -> number(field.path(), Byte.toUnsignedLong(bytes.get(offset)));
                case 2 -> number(field.path(), Short.toUnsignedLong(bytes.getShort(offset)));
                case 4 -> number(field.path(), Integer.toUnsignedLong(bytes.getInt(offset)));
                case 8 -> {
                    key(field.path());
                    unsigned(bytes.getLong(offset));
                }
                default -> {}
            }
        }
    }

    private int named(int offset) {
        int i = named - 1;
        while (i >= 0 && namedAt[i] != offset) {
            i--;
        }
        return i;
    }
}
