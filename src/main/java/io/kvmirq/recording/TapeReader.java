/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.io.JsonEOFException;
import io.kvmirq.Errno;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads a tape line by line, of either version; memory grows neither with its length nor with that of a line. Fields it
 * does not know are passed over, so that a later recorder may add some. For one thread.
 */
public final class TapeReader implements Closeable {
    /** The version of the format that is written now; the one before it is what {@code libkvmirqtape.so} appends. */
    static final int VERSION = 2;

    private static final Set<String> KNOWN = Set.of(
            "tape",
            "seq",
            "pid",
            "tid",
            "call",
            "on",
            "path",
            "request",
            "value",
            "flags",
            "in",
            "out",
            "data",
            "made",
            "begins",
            "cut",
            "result",
            "errno",
            "fd",
            "file",
            "header.pid",
            "header.arch",
            "header.order",
            "header.kernel",
            "header.program",
            "header.backend");
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
            "preadv2",
            "ioctl",
            "mmap",
            "munmap",
            "ppoll",
            "eventfd",
            "epoll_create",
            "epoll_ctl",
            "epoll_wait",
            "memory");

    /** In hex, the largest routing table the kernel takes, and something to spare. */
    private static final int MAX_TEXT = 1 << 19;

    static final String ORDER = ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? "little" : "big";

    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxStringLength(MAX_TEXT)
                    .maxNestingDepth(8)
                    .maxNumberLength(20)
                    .maxNameLength(64)
                    .build())
            .build();

    private final JsonParser parser;
    private long line;

    /** Scalars of the current line by field; those of the header under {@code header.}. */
    private final Map<String, Object> fields = new HashMap<>();

    private final Map<String, String> names = new HashMap<>();
    private final Identities files = new Identities();
    private long calls;

    private TapeReader(JsonParser parser) {
        this.parser = parser;
    }

    /** @param in closed with the reader */
    public static TapeReader of(InputStream in) throws IOException {
        return new TapeReader(JSON.createParser(in));
    }

    @Override
    public void close() throws IOException {
        parser.close();
    }

    /**
     * The next line, or nothing at the end.
     *
     * @throws TapeException for what is not a line of a tape
     * @throws IOException if the source cannot be read
     */
    public Optional<TapeLine> next() throws IOException {
        line++;
        try {
            @Nullable JsonToken token = parser.nextToken();
            if (token == null) {
                return Optional.empty();
            }
            if (token != JsonToken.START_OBJECT) {
                throw new TapeException(line, "not a tape: expected an object with field tape");
            }
            fields.clear();
            names.clear();
            readObject("");
        } catch (JsonEOFException e) {
            throw new TapeException(line, "the tape ends within the line" + afterField(), e);
        } catch (JsonParseException e) {
            throw new TapeException(line, "not a tape: not JSON" + afterField(), e);
        } catch (StreamConstraintsException e) {
            throw new TapeException(line, "longer than any line of a tape" + afterField(), e);
        }
        boolean raw = requireVersion() == 1;
        if (fields.containsKey("header.pid")) {
            return Optional.of(header());
        }
        calls++;
        return Optional.of(raw ? RawCall.named(rawCall(), calls, files) : call());
    }

    /** A flaw in the line that {@link #next} gave last. */
    TapeException flaw(String what) {
        return new TapeException(line, what);
    }

    private String afterField() throws IOException {
        @Nullable String name = parser.currentName();
        return name == null ? "" : ", in field " + name;
    }

    private void readObject(String prefix) throws IOException {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String name = prefix + parser.currentName();
            JsonToken token = parser.nextToken();
            if (token == JsonToken.START_OBJECT && name.equals("header")) {
                readObject("header.");
            } else if (token == JsonToken.START_OBJECT && name.equals("names")) {
                readNames();
            } else if (!KNOWN.contains(name)) {
                parser.skipChildren();
            } else {
                readScalar(name, token);
            }
        }
    }

    private void readScalar(String name, @Nullable JsonToken token) throws IOException {
        if (token == JsonToken.VALUE_NUMBER_INT) {
            fields.put(name, number(name));
        } else if (token == JsonToken.VALUE_TRUE) {
            fields.put(name, true);
        } else if (token == JsonToken.VALUE_STRING) {
            fields.put(name, parser.getText());
        } else {
            parser.skipChildren();
        }
    }

    private void readNames() throws IOException {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String place = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING || !isName(parser.getText(), true) || !isPlace(place)) {
                throw new TapeException(line, "field names." + place + " names no file");
            }
            if (names.size() == Arguments.MOST_FDS) {
                throw new TapeException(line, "field names has more than " + Arguments.MOST_FDS);
            }
            names.put(place, parser.getText());
        }
    }

    private Long number(String name) throws IOException {
        // An eventfd's count of 64 bits is in bytes, never here: a long holds every number of a tape.
        if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
            throw new TapeException(line, "field " + name + " is no number of 64 bits: " + parser.getText());
        }
        return parser.getLongValue();
    }

    private static boolean isPlace(String place) {
        return place.equals("data")
                || place.equals("value")
                || place.length() <= 6 && isNumber(place, 0, place.length(), 10);
    }

    private long requireVersion() {
        if (!(fields.get("tape") instanceof Long version)) {
            throw new TapeException(line, "not a tape: field tape is missing");
        }
        if (version < 1 || version > VERSION) {
            throw new TapeException(
                    line,
                    "field tape: version " + version + " is unknown here, this kvmirq reads versions 1 to " + VERSION);
        }
        return version;
    }

    private TapeLine header() {
        if (fields.containsKey("header.order") && !text("header.order").equals(ORDER)) {
            throw new TapeException(
                    line, "field header.order is " + text("header.order") + ": this machine is " + ORDER);
        }
        int pid = integer("header.pid");
        files.forgotten(pid);
        return new TapeLine.Header(
                pid,
                text("header.arch"),
                text("header.kernel"),
                text("header.program"),
                fields.containsKey("header.backend") ? text("header.backend") : "preload");
    }

    private RawCall rawCall() {
        long errno = number("errno", 0);
        if (errno < 0 || errno > 4095) {
            throw new TapeException(line, "field errno is " + errno + ": expected 0–4095");
        }
        return new RawCall(
                integer("pid"),
                integer("tid"),
                text("call"),
                integer("fd"),
                Optional.ofNullable(fields.get("file")).map(String::valueOf),
                number("request", 0),
                number("value", 0),
                number("flags", 0),
                bytes("in"),
                bytes("out"),
                bytes("data"),
                Boolean.TRUE.equals(fields.get("cut")),
                required("result"),
                errno == 0 ? Optional.empty() : Optional.of(new Errno((int) errno)));
    }

    private TapeLine call() {
        if (required("seq") != calls) {
            throw new TapeException(line, "field seq is " + required("seq") + ": expected " + calls);
        }
        if (!CALLS.contains(text("call"))) {
            throw new TapeException(line, "field call is " + text("call") + ": unknown here");
        }
        boolean begins = Boolean.TRUE.equals(fields.get("begins"));
        return new TapeLine.Call(
                calls,
                integer("pid"),
                integer("tid"),
                text("call"),
                named("on", true).orElse(""),
                optionalText("path"),
                number("request", 0),
                number("value", 0),
                number("flags", 0),
                bytes("in"),
                bytes("out"),
                bytes("data"),
                Map.copyOf(names),
                named("made", false),
                begins,
                Boolean.TRUE.equals(fields.get("cut")),
                begins ? 0 : required("result"),
                optionalText("errno").map(name -> Errno.of(name)
                        .orElseThrow(() -> new TapeException(line, "field errno is " + name + ": unknown here"))));
    }

    private Optional<String> optionalText(String name) {
        return fields.containsKey(name) ? Optional.of(text(name)) : Optional.empty();
    }

    /** @param orNone whether it may also name a number that is none of our files */
    private Optional<String> named(String name, boolean orNone) {
        Optional<String> text = optionalText(name);
        if (text.isPresent()
                && !isName(text.get(), false)
                && !(orNone && text.get().endsWith(")"))) {
            throw new TapeException(line, "field " + name + " is " + text.get() + ": names no file");
        }
        return text;
    }

    /** Kind and ordinal, such as {@code vm#1}; perhaps a place in it, such as {@code memory#1+0x1000}. */
    private static boolean isName(String text, boolean orPlace) {
        int ordinal = text.indexOf('#') + 1;
        int plus = orPlace ? text.indexOf("+0x") : -1;
        int end = plus < 0 ? text.length() : plus;
        return ordinal > 1
                && end - ordinal <= 9
                && isNumber(text, ordinal, end, 10)
                && (plus < 0 || text.length() - plus <= 18 && isNumber(text, plus + 3, text.length(), 16));
    }

    private static boolean isNumber(String text, int from, int to, int radix) {
        for (int i = from; i < to; i++) {
            if (Character.digit(text.charAt(i), radix) < 0) {
                return false;
            }
        }
        return to > from;
    }

    private long number(String name, long absent) {
        return fields.containsKey(name) ? required(name) : absent;
    }

    private long required(String name) {
        if (fields.get(name) instanceof Long number) {
            return number;
        }
        throw new TapeException(line, "field " + name + " is missing or no number");
    }

    private int integer(String name) {
        long number = required(name);
        if (number != (int) number) {
            throw new TapeException(line, "field " + name + " is " + number + ": expected 32 bits");
        }
        return (int) number;
    }

    private String text(String name) {
        if (fields.get(name) instanceof String text) {
            return text;
        }
        throw new TapeException(line, "field " + name + " is missing or no text");
    }

    private Optional<ByteBuffer> bytes(String name) {
        if (!fields.containsKey(name)) {
            return Optional.empty();
        }
        try {
            byte[] bytes = HexFormat.of().parseHex(text(name));
            return Optional.of(ByteBuffer.wrap(bytes).asReadOnlyBuffer().order(ByteOrder.nativeOrder()));
        } catch (IllegalArgumentException e) {
            throw new TapeException(line, "field " + name + " is not hex: " + e.getMessage(), e);
        }
    }
}
