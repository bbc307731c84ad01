/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.NotPromised;
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
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Writes the lines of a tape as JSON, without Jackson. The recorder's methods allocate only if the buffer grows, or if
 * the text of a file, thread or request is not cached. For one thread at a time; the recorder holds a lock.
 */
@NotPromised
public final class TapeWriter extends JsonLines {
    static final String PATH = keyOf("path");
    static final String IN = keyOf("in");
    static final String OUT = keyOf("out");
    static final String DATA = keyOf("data");
    static final String CUT = keyOf("cut");
    static final String MADE = keyOf("made");
    static final String BEGINS = keyOf("begins");
    private static final String PID = keyOf("pid");
    private static final String TID = keyOf("tid");
    private static final String CALL = keyOf("call");
    private static final String ON = keyOf("on");
    private static final String NAME = keyOf("name");
    private static final String REQUEST = keyOf("request");
    private static final String VALUE = keyOf("value");
    private static final String FLAGS = keyOf("flags");
    private static final String NAMES = keyOf("names");
    private static final String FIELDS = keyOf("fields");
    private static final String ENTRIES = keyOf("entries");
    private static final String RESULT = keyOf("result");
    private static final String ERRNO = keyOf("errno");
    /** The size of a cache, a power of two. */
    private static final int KEPT = 256;

    private long calls;
    private boolean closed;
    /** The place of each name in the line: an offset in {@code in}, or IN_DATA or IN_VALUE of {@link Masking}. */
    private final int[] namedAt = new int[Arguments.MOST_FDS];

    private final String[] nameOf = new String[Arguments.MOST_FDS];
    private int named;

    /** The cached start of a line: process, thread, call and file. */
    private static final class Opening {
        private final int pid;
        private final int tid;
        private final String call;
        private final String on;
        private final byte[] text;

        Opening(int pid, int tid, String call, String on, byte[] text) {
            this.pid = pid;
            this.tid = tid;
            this.call = call;
            this.on = on;
            this.text = text;
        }

        boolean isOf(int ofPid, int ofTid, String ofCall, String ofOn) {
            return ofTid == tid && ofPid == pid && ofOn.equals(on) && ofCall.equals(call);
        }
    }

    /** The cached text of a request's name and number. */
    private static final class Head {
        private final long request;
        private final String name;
        private final byte[] text;

        Head(long request, String name, byte[] text) {
            this.request = request;
            this.name = name;
            this.text = text;
        }
    }

    /** The fields of a structure that occur once, with their JSON keys. */
    private static final class Layout {
        private final List<Field> fields = new ArrayList<>();
        private final List<String> keys = new ArrayList<>();
        private final List<Struct> elements = new ArrayList<>();

        Layout(Struct struct) {
            for (Field field : struct.fields()) {
                if (field.each() == 0) {
                    fields.add(field);
                    keys.add(keyOf(field.path()));
                }
                field.elements().ifPresent(elements::add);
            }
        }
    }

    private final @Nullable Opening[] openings = new @Nullable Opening[KEPT];
    private final @Nullable Head[] heads = new @Nullable Head[KEPT];
    private final IdentityHashMap<Struct, Layout> layouts = new IdentityHashMap<>();

    /** @param out closed with the writer */
    public TapeWriter(OutputStream out) {
        super(out);
        Objects.requireNonNull(out, "out is null");
    }

    /**
     * Writes a line. Numbers calls from 1. After an I/O error, lines are dropped; {@link #flush} and {@link #close}
     * throw the first error.
     */
    public void write(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            write(header);
            return;
        }
        TapeLine.Call call = (TapeLine.Call) line;
        begin(call.pid(), call.tid(), call.call(), call.on());
        call.path().ifPresent(path -> text(PATH, path));
        Optional<UapiTable.Request> request = Optional.ofNullable(Arguments.of(call.request(), call.on()));
        arguments(call.request(), request.map(UapiTable.Request::name).orElse(""), call.value(), call.flags());
        new TreeMap<>(call.names()).forEach((place, name) -> name(place(place), name));
        call.in().ifPresent(bytes -> {
            bytes(IN, bytes, bytes.limit());
            request.flatMap(UapiTable.Request::argument).ifPresent(struct -> fields(struct, bytes, bytes.limit()));
        });
        call.out().ifPresent(bytes -> bytes(OUT, bytes, bytes.limit()));
        call.data().ifPresent(bytes -> bytes(DATA, bytes, bytes.limit()));
        names();
        if (call.cut()) {
            flag(CUT);
        }
        call.made().ifPresent(made -> text(MADE, made));
        if (call.begins()) {
            flag(BEGINS);
            endLine();
        } else {
            end(call.result(), call.errno().orElse(null));
        }
    }

    void write(TapeLine.Header header) {
        raw("{\"header\":{\"pid\":");
        decimal(header.pid());
        text(keyOf("program"), header.program());
        text(keyOf("arch"), header.architecture());
        text(keyOf("order"), TapeReader.ORDER);
        text(keyOf("kernel"), header.kernel());
        text(keyOf("backend"), header.backend());
        raw("}}");
        lineEnd();
    }

    /** Writes the end line with the number of calls, unless it is written already. Flushes and closes the stream. */
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
        int kept = (31 * on.hashCode() + call.hashCode() + tid) & KEPT - 1;
        @Nullable Opening opening = openings[kept];
        if (opening != null && opening.isOf(pid, tid, call, on)) {
            again(opening.text);
            return;
        }
        int mark = mark();
        number(PID, pid);
        number(TID, tid);
        text(CALL, call);
        if (!on.isEmpty()) {
            text(ON, on);
        }
        openings[kept] = new Opening(pid, tid, call, on, since(mark));
    }

    /** @param name the name of the request, which readers ignore */
    void arguments(long request, String name, long value, long flags) {
        if (request != 0) {
            head(request, name);
        }
        number(VALUE, value);
        if (flags != 0) {
            number(FLAGS, flags);
        }
    }

    private void head(long request, String name) {
        int kept = (int) (request ^ request >>> 8) & KEPT - 1;
        @Nullable Head head = heads[kept];
        if (head != null && head.request == request && name.equals(head.name)) {
            again(head.text);
            return;
        }
        int mark = mark();
        if (!name.isEmpty()) {
            text(NAME, name);
        }
        number(REQUEST, request);
        heads[kept] = new Head(request, name, since(mark));
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
        beginObject(NAMES);
        for (int i = 0; i < named; i++) {
            if (namedAt[i] < 0) {
                text(namedAt[i] == Masking.IN_DATA ? DATA : VALUE, nameOf[i]);
            } else {
                numberKey(namedAt[i]);
                quoted(nameOf[i]);
            }
        }
        endObject();
    }

    void end(long result, @Nullable Errno errno) {
        number(RESULT, result);
        if (errno != null) {
            text(ERRNO, errno.toString());
        }
        endLine();
    }

    void endLine() {
        endObject();
        lineEnd();
    }

    /** Writes a structure by its field names, for people. {@link TapeReader} ignores it and reads the bytes. */
    void fields(Struct struct, ByteBuffer bytes, int length) {
        if (length < struct.size() || struct.fields().isEmpty()) {
            return;
        }
        Layout layout = layout(struct);
        beginObject(FIELDS);
        fieldsAt(layout, bytes, 0, length);
        endObject();
        for (int i = 0; i < layout.elements.size(); i++) {
            elements(layout.elements.get(i), bytes, struct.size(), length);
        }
    }

    private Layout layout(Struct struct) {
        @Nullable Layout known = layouts.get(struct);
        if (known == null) {
            known = new Layout(struct);
            layouts.put(struct, known);
        }
        return known;
    }

    private void elements(Struct element, ByteBuffer bytes, int start, int length) {
        Layout layout = layout(element);
        key(ENTRIES);
        put('[');
        for (int at = start; at + element.size() <= length; at += element.size()) {
            beginElement(at == start);
            fieldsAt(layout, bytes, at, length);
            endObject();
        }
        put(']');
    }

    private void fieldsAt(Layout layout, ByteBuffer bytes, int start, int length) {
        for (int i = 0; i < layout.fields.size(); i++) {
            Field field = layout.fields.get(i);
            int asked = start + field.when().at();
            int offset = start + field.offset();
            boolean holds = field.when().at() < 0 || field.when().holds(bytes.getInt(asked));
            if (!holds || offset + field.size() > length) {
                continue;
            }
            String key = layout.keys.get(i);
            int name = start == 0 ? named(offset) : -1;
            if (name >= 0) {
                text(key, nameOf[name]);
                continue;
            }
            switch (field.size()) {
                case 1 -> number(key, Byte.toUnsignedLong(bytes.get(offset)));
                case 2 -> number(key, Short.toUnsignedLong(bytes.getShort(offset)));
                case 4 -> number(key, Integer.toUnsignedLong(bytes.getInt(offset)));
                case 8 -> {
                    key(key);
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
