/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.io.JsonEOFException;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.UapiTable.FileKind;
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

/** Reads the known fields of a tape, one line at a time. For one thread. */
final class TapeFields implements Closeable {
    private static final Set<String> KNOWN = Set.of(
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
            "end",
            "fd",
            "file",
            "header.pid",
            "header.arch",
            "header.order",
            "header.kernel",
            "header.program",
            "header.backend");
    /** The most characters of a field: the largest routing table of the kernel in hex, with room to spare. */
    private static final int MAX_TEXT = 1 << 19;

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

    /** The scalars of the current line, keyed by field name; those of a header have the prefix {@code header.}. */
    private final Map<String, Object> fields = new HashMap<>();

    private final Map<String, String> names = new HashMap<>();

    TapeFields(InputStream in) throws IOException {
        this.parser = JSON.createParser(in);
    }

    @Override
    public void close() throws IOException {
        parser.close();
    }

    /** Reads a line; false at the end. TapeException if the text is no JSON, or longer than a tape's line can be. */
    boolean next() throws IOException {
        line++;
        try {
            @Nullable JsonToken token = parser.nextToken();
            if (token == null) {
                return false;
            }
            if (token != JsonToken.START_OBJECT) {
                throw flaw("not a tape: expected an object");
            }
            fields.clear();
            names.clear();
            readObject("");
            return true;
        } catch (JsonEOFException e) {
            throw new TapeException(line, "the tape ends within the line" + afterField(), e, true);
        } catch (JsonParseException e) {
            throw new TapeException(line, "not a tape: not JSON" + afterField(), e);
        } catch (StreamConstraintsException e) {
            throw new TapeException(line, "longer than any line of a tape" + afterField(), e);
        }
    }

    /** An exception about the current line. */
    TapeException flaw(String what) {
        return new TapeException(line, what);
    }

    private String afterField() throws IOException {
        @Nullable String name = parser.currentName();
        return name == null ? "" : ", in field " + name;
    }

    /** The file behind the descriptor; empty if the descriptor was not open. */
    Optional<String> file() {
        return Optional.ofNullable(fields.get("file")).map(String::valueOf);
    }

    boolean has(String name) {
        return fields.containsKey(name);
    }

    boolean isTrue(String name) {
        return Boolean.TRUE.equals(fields.get(name));
    }

    /** The names of descriptors and addresses in the bytes of the line. */
    Map<String, String> names() {
        return Map.copyOf(names);
    }

    private void readObject(String prefix) throws IOException {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            // The parser returns one String for each name, with a cached hash.
            String name = prefix.isEmpty() ? parser.currentName() : prefix + parser.currentName();
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
                throw flaw("field names." + place + " names no file");
            }
            if (names.size() == Arguments.MOST_FDS) {
                throw flaw("field names has more than " + Arguments.MOST_FDS);
            }
            names.put(place, parser.getText());
        }
    }

    private Long number(String name) throws IOException {
        // A long holds every number of a tape: 64-bit counts of eventfds are in the bytes.
        if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
            throw flaw("field " + name + " is no number of 64 bits: " + parser.getText());
        }
        return parser.getLongValue();
    }

    private static boolean isPlace(String place) {
        return place.equals("data")
                || place.equals("value")
                || place.length() <= 6 && isNumber(place, 0, place.length(), 10);
    }

    Optional<String> optionalText(String name) {
        return fields.containsKey(name) ? Optional.of(text(name)) : Optional.empty();
    }

    /** @param orNone whether the text may also be a number that is no recorded file */
    Optional<String> named(String name, boolean orNone) {
        Optional<String> text = optionalText(name);
        if (text.isPresent()
                && !isName(text.get(), false)
                && !(orNone && text.get().endsWith(")"))) {
            throw flaw("field " + name + " is " + text.get() + ": names no file");
        }
        return text;
    }

    /** Whether the text is a name such as {@code vm#1}, or perhaps a place such as {@code memory#1+0x1000}. */
    private static boolean isName(String text, boolean orPlace) {
        int ordinal = text.indexOf('#') + 1;
        int plus = orPlace ? text.indexOf("+0x") : -1;
        int end = plus < 0 ? text.length() : plus;
        return ordinal > 1
                && FileKind.ofName(text) != FileKind.NONE
                && end - ordinal <= 9
                && isNumber(text, ordinal, end, 10)
                && (plus < 0 || text.length() - plus <= 18 && isNumber(text, plus + 3, text.length(), 16));
    }

    private static boolean isNumber(String text, int from, int to, int radix) {
        for (int i = from; i < to; i++) {
            if (text.charAt(i) > 'f' || Character.digit(text.charAt(i), radix) < 0) {
                return false;
            }
        }
        return to > from;
    }

    long number(String name, long absent) {
        return fields.containsKey(name) ? required(name) : absent;
    }

    long required(String name) {
        if (fields.get(name) instanceof Long number) {
            return number;
        }
        throw flaw("field " + name + " is missing or no number");
    }

    int integer(String name) {
        long number = required(name);
        if (number != (int) number) {
            throw flaw("field " + name + " is " + number + ": expected 32 bits");
        }
        return (int) number;
    }

    String text(String name) {
        if (fields.get(name) instanceof String text) {
            return text;
        }
        throw flaw("field " + name + " is missing or no text");
    }

    Optional<ByteBuffer> bytes(String name) {
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
