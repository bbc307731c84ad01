/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Writes lines of a tape, of version {@value TapeReader#VERSION}, by hand: for a call nothing is allocated, and no library
 * is needed. For one thread at a time.
 */
public final class TapeWriter implements Closeable {
    private static final byte[] DIGITS = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'
    };
    private static final int ROOM = 1 << 16;
    /** Places of names that are no offset. */
    static final int IN_DATA = -1;

    static final int IN_VALUE = -2;

    private final OutputStream out;
    private final byte[] room = new byte[ROOM];
    private int at;
    private long calls;
    /** What descriptors and addresses of the current line mean, by offset or one of the places below. */
    private final int[] namedAt = new int[Arguments.MOST_FDS];

    private final String[] nameOf = new String[Arguments.MOST_FDS];
    private int named;
    /** Whether the next field is the first of its object. */
    private boolean first;

    private @Nullable IOException failure;

    /** @param out closed with the writer */
    public TapeWriter(OutputStream out) {
        this.out = out;
    }

    /** A line as it was read. What fails is told by {@link #close}. */
    public void write(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            write(header);
            return;
        }
        TapeLine.Call call = (TapeLine.Call) line;
        begin(call.pid(), call.tid(), call.call(), call.on());
        call.path().ifPresent(path -> text("path", path));
        Optional<UapiTable.Request> request = TapeText.request(call);
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
        raw("{\"tape\":");
        decimal(TapeReader.VERSION);
        raw(",\"header\":{\"pid\":");
        decimal(header.pid());
        text("program", header.program());
        text("arch", header.architecture());
        text("order", TapeReader.ORDER);
        text("kernel", header.kernel());
        text("backend", header.backend());
        raw("}}\n");
    }

    // Parts of a line

    void begin(int pid, int tid, String call, String on) {
        calls++;
        named = 0;
        raw("{\"tape\":");
        decimal(TapeReader.VERSION);
        number("seq", calls);
        number("pid", pid);
        number("tid", tid);
        text("call", call);
        if (!on.isEmpty()) {
            text("on", on);
        }
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
            case "data" -> IN_DATA;
            case "value" -> IN_VALUE;
            default -> Integer.parseInt(place);
        };
    }

    /** What the descriptor at an offset of {@code in} is; before the bytes are decoded. */
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
                text(namedAt[i] == IN_DATA ? "data" : "value", nameOf[i]);
            } else {
                raw(first ? "\"" : ",\"");
                first = false;
                decimal(namedAt[i]);
                raw("\":");
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
        put('\n');
    }

    private void key(String key) {
        raw(first ? "\"" : ",\"");
        first = false;
        raw(key);
        raw("\":");
    }

    void number(String key, long value) {
        key(key);
        decimal(value);
    }

    void flag(String key) {
        key(key);
        raw("true");
    }

    void text(String key, String value) {
        key(key);
        quoted(value);
    }

    private void quoted(String value) {
        put('"');
        for (int i = 0; i < value.length(); i++) {
            char c = value.charAt(i);
            if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
                put(c);
            } else {
                escaped(c);
            }
        }
        put('"');
    }

    private void escaped(char c) {
        raw("\\u");
        for (int shift = 12; shift >= 0; shift -= 4) {
            put((char) DIGITS[c >>> shift & 15]);
        }
    }

    /** The first {@code length} bytes, in hex. */
    void bytes(String key, ByteBuffer bytes, int length) {
        key(key);
        put('"');
        for (int i = 0; i < length; i++) {
            if (at + 2 > ROOM) {
                drain();
            }
            byte one = bytes.get(i);
            room[at++] = DIGITS[one >>> 4 & 15];
            room[at++] = DIGITS[one & 15];
        }
        put('"');
    }

    void beginObject(String key) {
        key(key);
        put('{');
        first = true;
    }

    void endObject() {
        put('}');
        first = false;
    }

    /** A structure by the names of its fields, for people: a reader takes the bytes. */
    void fields(UapiTable.Struct struct, ByteBuffer bytes, int length) {
        if (length < struct.size() || struct.fields().isEmpty()) {
            return;
        }
        beginObject("fields");
        fieldsAt(struct, bytes, 0, "");
        endObject();
        if (struct.size() == Uapi.KvmIrqRouting.SIZE && struct.tag().equals("kvm_irq_routing")) {
            entries(bytes, length);
        }
    }

    private void entries(ByteBuffer bytes, int length) {
        key("entries");
        put('[');
        int size = UapiTable.ROUTING_ENTRY.size();
        for (int entry = Uapi.KvmIrqRouting.SIZE; entry + size <= length; entry += size) {
            raw(entry == Uapi.KvmIrqRouting.SIZE ? "{" : ",{");
            first = true;
            boolean message = bytes.getInt(entry + Uapi.KvmIrqRoutingEntry.TYPE) == Uapi.KVM_IRQ_ROUTING_MSI;
            fieldsAt(UapiTable.ROUTING_ENTRY, bytes, entry, message ? "u.irqchip" : "u.msi");
            endObject();
        }
        put(']');
    }

    /** @param without fields whose path begins so; none for an empty text */
    private void fieldsAt(UapiTable.Struct struct, ByteBuffer bytes, int start, String without) {
        List<UapiTable.Field> fields = struct.fields();
        for (int i = 0; i < fields.size(); i++) {
            UapiTable.Field field = fields.get(i);
            if (!without.isEmpty() && field.path().startsWith(without)) {
                continue;
            }
            int offset = start + field.offset();
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

    // Characters

    private void unsigned(long value) {
        if (value < 0) {
            decimal(Long.divideUnsigned(value, 10));
            put((char) ('0' + Long.remainderUnsigned(value, 10)));
        } else {
            decimal(value);
        }
    }

    private void decimal(long value) {
        if (value < 0) {
            put('-');
            // The most negative number has no positive one: its last digit comes first.
            if (value < -9) {
                decimal(-(value / 10));
            }
            put((char) ('0' - value % 10));
            return;
        }
        long unit = 1;
        while (value / unit >= 10) {
            unit *= 10;
        }
        for (; unit > 0; unit /= 10) {
            put((char) ('0' + value / unit % 10));
        }
    }

    private void raw(String text) {
        for (int i = 0; i < text.length(); i++) {
            put(text.charAt(i));
        }
    }

    private void put(char ascii) {
        if (at == ROOM) {
            drain();
        }
        room[at++] = (byte) ascii;
    }

    private void drain() {
        try {
            if (failure == null) {
                out.write(room, 0, at);
            }
        } catch (IOException e) {
            // The program goes on; its tape does not.
            failure = e;
        }
        at = 0;
    }

    /** How many calls were written. */
    public long calls() {
        return calls;
    }

    /**
     * Makes what was written so far reach its place.
     *
     * @throws IOException if any of it could not be written, also earlier
     */
    public void flush() throws IOException {
        drain();
        if (failure != null) {
            throw failure;
        }
        out.flush();
    }

    @Override
    public void close() throws IOException {
        try {
            flush();
        } finally {
            out.close();
        }
    }
}
