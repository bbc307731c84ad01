/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Violation;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Converts structures as lines of JSON, one object per line with {@code kind}, {@code words}, {@code fields}, {@code
 * leftOut}, {@code violations} and {@code remarks}. {@code leftOut} names fields with their usual value, which encode
 * may omit. Keeps one line at a time, so memory does not grow with the input. For one thread.
 */
final class FormatLines {
    /** The member of a line to convert. The others, except {@code kind}, are ignored. */
    enum Direction {
        DECODE("words"),
        ENCODE("fields");

        private final String source;

        Direction(String source) {
            this.source = source;
        }
    }

    /** Longer than a line of any format, in bytes. */
    private static final int LONGEST_LINE = 1 << 20;

    private static final int LONGEST_NAME = 40;
    private static final int LONGEST_REASON = 160;

    /** More words or fields than any format has. */
    private static final int MOST_WORDS = 256;

    private final Direction direction;
    private final JsonFactory factory = new JsonFactoryBuilder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    FormatLines(Direction direction) {
        this.direction = direction;
    }

    private record Line(Optional<String> kind, Optional<List<String>> words, Optional<Map<String, String>> fields) {}

    /**
     * Converts each line up to the first bad one; the IllegalArgumentException has its number. IOException if the input
     * cannot be read.
     */
    void run(InputStream in, PrintStream out) throws IOException {
        LineReader lines = new LineReader(in, LONGEST_LINE);
        Json json = new Json(out);
        try {
            while (lines.next(json::flush)) {
                if (!lines.isBlank()) {
                    convert(lines, json);
                }
                if (out.checkError()) {
                    return;
                }
            }
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("line " + lines.number() + ": " + e.getMessage(), e);
        } finally {
            json.flush();
        }
    }

    private void convert(LineReader line, Json json) throws IOException {
        Line read = read(line);
        Format format = Formats.of(
                read.kind().orElseThrow(() -> new IllegalArgumentException("'kind' is missing: expected a name")));
        write(format, bits(format, read), json);
    }

    private long[] bits(Format format, Line read) {
        if (direction == Direction.DECODE) {
            return format.bits(Formats.words(
                    format, read.words().orElseThrow(() -> missing("an array of " + format.wordsText()))));
        }
        Map<String, Long> values = new HashMap<>();
        read.fields()
                .orElseThrow(() -> missing("an object of field names and hex strings"))
                .forEach((name, text) ->
                        values.put(name, Hex.parse(text, "field '" + name + "' of " + format.kind(), Long.SIZE)));
        return format.encode(values);
    }

    private IllegalArgumentException missing(String expected) {
        return new IllegalArgumentException("'" + direction.source + "' is missing: expected " + expected);
    }

    // Reading

    private Line read(LineReader line) throws IOException {
        // The parser gets text, because it would guess the encoding of bytes, and a wrong guess changes the error.
        try (JsonParser json = factory.createParser(line.text())) {
            if (json.nextToken() != JsonToken.START_OBJECT) {
                throw new IllegalArgumentException("expected an object such as {\"kind\":\"pid\",\"" + direction.source
                        + "\":...}, got " + describe(json));
            }
            Line read = members(json);
            if (json.nextToken() != null) {
                throw new IllegalArgumentException("expected one object, got more after it");
            }
            return read;
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    "is not JSON: "
                            + Foreign.printable(
                                    e.getOriginalMessage().replaceFirst(" \\(start marker.*", ""), LONGEST_REASON),
                    e);
        }
    }

    private Line members(JsonParser json) throws IOException {
        Optional<String> kind = Optional.empty();
        Optional<List<String>> words = Optional.empty();
        Optional<Map<String, String>> fields = Optional.empty();
        for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
            json.nextToken();
            if (name.equals("kind")) {
                kind = Optional.of(text(json, "'kind'", "a string"));
            } else if (!name.equals(direction.source)) {
                json.skipChildren();
            } else if (direction == Direction.DECODE) {
                words = Optional.of(words(json));
            } else {
                fields = Optional.of(fields(json));
            }
        }
        return new Line(kind, words, fields);
    }

    private static List<String> words(JsonParser json) throws IOException {
        require(json, JsonToken.START_ARRAY, "'words'", "an array of hex strings");
        List<String> words = new ArrayList<>();
        while (json.nextToken() != JsonToken.END_ARRAY) {
            words.add(text(json, "word " + (words.size() + 1), "a hex string"));
            notTooMany(words.size(), "words");
        }
        return words;
    }

    private static Map<String, String> fields(JsonParser json) throws IOException {
        require(json, JsonToken.START_OBJECT, "'fields'", "an object of field names and hex strings");
        Map<String, String> fields = new LinkedHashMap<>();
        for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
            json.nextToken();
            // Makes a name printable for error sentences. Valid names do not change.
            String shown = Foreign.printable(name, LONGEST_NAME);
            fields.put(shown, text(json, "field '" + shown + "'", "a hex string"));
            notTooMany(fields.size(), "fields");
        }
        return fields;
    }

    private static void notTooMany(int count, String what) {
        if (count > MOST_WORDS) {
            throw new IllegalArgumentException("more than " + MOST_WORDS + " " + what + ": no structure has that many");
        }
    }

    private static String text(JsonParser json, String what, String expected) throws IOException {
        require(json, JsonToken.VALUE_STRING, what, expected);
        return json.getText();
    }

    private static void require(JsonParser json, JsonToken token, String what, String expected) {
        if (json.currentToken() != token) {
            throw new IllegalArgumentException(what + " is " + describe(json) + ": expected " + expected);
        }
    }

    private static String describe(JsonParser json) {
        JsonToken token = json.currentToken();
        if (token == null) {
            return "nothing";
        }
        return switch (token) {
            case START_OBJECT -> "an object";
            case START_ARRAY -> "an array";
            case VALUE_STRING -> "a string";
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> "a number";
            case VALUE_TRUE, VALUE_FALSE -> "a boolean";
            case VALUE_NULL -> "null";
            default -> "something else";
        };
    }

    // Writing

    static List<Violation> print(Format format, long[] words, Terminal terminal) {
        Json json = new Json(terminal.out());
        write(format, format.bits(words), json);
        json.flush();
        return format.violations(format.bits(words));
    }

    private static void write(Format format, long[] bits, Json json) {
        json.document(line -> line.value("kind", format.kind())
                .value(
                        "words",
                        Arrays.stream(format.words(bits))
                                .mapToObj(word -> Hex.padded(word, format.wordBits()))
                                .toList())
                .object("fields", fields -> {
                    for (Field field : format.fieldsOf(bits)) {
                        long value = field.value(bits);
                        if (isWritten(field, value)) {
                            fields.value(field.name(), Hex.of(value));
                        }
                    }
                })
                .value(
                        "leftOut",
                        format.fieldsOf(bits).stream()
                                .filter(field -> field.description().role() == Field.Role.DEFAULTED)
                                .filter(field -> !isWritten(field, field.value(bits)))
                                .map(Field::name)
                                .toList())
                .value(
                        "violations",
                        format.violations(bits).stream()
                                .map(Violation::toString)
                                .toList())
                .value("remarks", format.remarks(bits)));
    }

    private static boolean isWritten(Field field, long value) {
        return switch (field.description().role()) {
            case NAMED, DERIVED -> true;
            case DEFAULTED -> value != field.description().ordinary();
            case SHOWN -> false;
        };
    }
}
