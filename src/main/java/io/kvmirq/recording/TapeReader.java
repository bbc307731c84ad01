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
import org.jspecify.annotations.Nullable;

/**
 * Reads a tape line by line; memory does not grow with its length. Fields it does not know are passed over, so that a
 * later recorder may add some. For one thread.
 */
public final class TapeReader implements Closeable {
    /** The version of the format it reads. */
    static final int VERSION = 1;

    /** In hex, the largest routing table the kernel takes, and something to spare. */
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

    /** Scalars of the current line by field; those of the header under {@code header.}. */
    private final Map<String, Object> fields = new HashMap<>();

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
            readObject("");
        } catch (JsonEOFException e) {
            throw new TapeException(line, "the tape ends within the line" + afterField(), e);
        } catch (JsonParseException e) {
            throw new TapeException(line, "not a tape: not JSON" + afterField(), e);
        } catch (StreamConstraintsException e) {
            throw new TapeException(line, "longer than any line of a tape" + afterField(), e);
        }
        return Optional.of(requireVersion().containsKey("header.pid") ? header() : call());
    }

    private String afterField() throws IOException {
        @Nullable String name = parser.currentName();
        return name == null ? "" : ", in field " + name;
    }

    private void readObject(String prefix) throws IOException {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String name = prefix + parser.currentName();
            switch (parser.nextToken()) {
                case VALUE_NUMBER_INT -> fields.put(name, number(name));
                case VALUE_TRUE -> fields.put(name, true);
                case VALUE_STRING -> fields.put(name, parser.getText());
                case START_OBJECT -> {
                    if (name.equals("header")) {
                        readObject("header.");
                    } else {
                        parser.skipChildren();
                    }
                }
                default -> parser.skipChildren();
            }
        }
    }

    private Long number(String name) throws IOException {
        // An eventfd's count of 64 bits is in bytes, never here: a long holds every number of a tape.
        if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
            throw new TapeException(line, "field " + name + " is no number of 64 bits: " + parser.getText());
        }
        return parser.getLongValue();
    }

    private Map<String, Object> requireVersion() {
        if (!(fields.get("tape") instanceof Long version)) {
            throw new TapeException(line, "not a tape: field tape is missing");
        }
        if (version != VERSION) {
            throw new TapeException(
                    line, "field tape: version " + version + " is unknown here, this kvmirq reads version " + VERSION);
        }
        return fields;
    }

    private TapeLine header() {
        return new TapeLine.Header(
                integer("header.pid"), text("header.arch"), text("header.kernel"), text("header.program"));
    }

    private TapeLine call() {
        long errno = number("errno", 0);
        if (errno < 0 || errno > 4095) {
            throw new TapeException(line, "field errno is " + errno + ": expected 0–4095");
        }
        return new TapeLine.Call(
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
