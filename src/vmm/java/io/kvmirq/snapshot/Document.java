/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A tree of maps, lists, texts, integers and booleans as JSON, with a version and a checksum. Only this class needs
 * jackson-core.
 */
final class Document {
    private static final String FAMILY = "kvmirq.snapshot/";
    private static final int VERSION = 1;

    /** The longest text: the largest XSAVE area in hex with a margin, or the largest MSI-X table. */
    private static final int MAX_TEXT = 1 << 17;

    /** The longest document, for 4096 vCPUs. */
    private static final long MAX_DOCUMENT = 1L << 28;

    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxStringLength(MAX_TEXT)
                    .maxNestingDepth(8)
                    .maxNumberLength(20)
                    .maxNameLength(64)
                    .maxDocumentLength(MAX_DOCUMENT)
                    .build())
            .build();

    static final String GIVE_TEXT = "pass the text that VmSnapshot.text returned";

    /** The longest parser message that is quoted. */
    private static final int LONGEST_REASON = 160;

    private Document() {}

    static String write(Map<String, Object> state) {
        Map<String, Object> document = new LinkedHashMap<>();
        document.put("schema", FAMILY + VERSION);
        document.put("sha256", checksum(state));
        document.put("state", state);
        return text(document) + "\n";
    }

    /** @throws SnapshotException for any text that {@link #write} cannot produce */
    static Node read(String text) {
        Node document = new Node("", parse(text));
        String schema = document.at("schema").text();
        if (!schema.equals(FAMILY + VERSION)) {
            throw new SnapshotException(
                    schema.startsWith(FAMILY)
                            ? "this is " + Foreign.quoted(schema) + ", but this version of kvmirq reads " + FAMILY
                                    + VERSION
                            : Foreign.quoted(schema) + " is not a snapshot: expected " + FAMILY + VERSION);
        }
        document.requireOnly("schema", "sha256", "state");
        Node state = document.at("state");
        if (!document.at("sha256").text().equals(checksum(state.value()))) {
            throw new SnapshotException(
                    "the snapshot was changed after it was written: its sha256 does not match its state");
        }
        return state;
    }

    private static String checksum(Object state) {
        try {
            byte[] bytes = text(state).getBytes(StandardCharsets.UTF_8);
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
    }

    // Writing

    private static String text(Object value) {
        StringWriter to = new StringWriter();
        try (JsonGenerator json = JSON.createGenerator(to)) {
            write(json, value);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return to.toString();
    }

    private static void write(JsonGenerator json, Object value) throws IOException {
        if (value instanceof Map<?, ?> map) {
            json.writeStartObject();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                json.writeFieldName(String.valueOf(entry.getKey()));
                write(json, entry.getValue());
            }
            json.writeEndObject();
        } else if (value instanceof List<?> list) {
            json.writeStartArray();
            for (Object element : list) {
                write(json, element);
            }
            json.writeEndArray();
        } else if (value instanceof Number number) {
            json.writeNumber(number.longValue());
        } else if (value instanceof Boolean flag) {
            json.writeBoolean(flag);
        } else {
            json.writeString(value.toString());
        }
    }

    // Reading

    static Object parse(String text) {
        if (Objects.requireNonNull(text, "text is null: " + GIVE_TEXT).isBlank()) {
            throw new SnapshotException("not a snapshot: the text is empty; " + GIVE_TEXT);
        }
        try (JsonParser json = JSON.createParser(text)) {
            Object read = value(json, json.nextToken());
            if (json.nextToken() != null) {
                throw new SnapshotException("not a snapshot: something follows the JSON document");
            }
            return read;
        } catch (JsonProcessingException e) {
            throw new SnapshotException(
                    "not a snapshot: the text is not JSON (" + Foreign.printable(e.getOriginalMessage(), LONGEST_REASON)
                            + "); " + GIVE_TEXT,
                    e);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Object value(JsonParser json, @Nullable JsonToken token) throws IOException {
        if (token == JsonToken.START_OBJECT) {
            Map<String, Object> map = new LinkedHashMap<>();
            while (json.nextToken() == JsonToken.FIELD_NAME) {
                String name = json.currentName();
                map.put(name, value(json, json.nextToken()));
            }
            return map;
        }
        if (token == JsonToken.START_ARRAY) {
            List<Object> list = new ArrayList<>();
            for (JsonToken next = json.nextToken(); next != JsonToken.END_ARRAY; next = json.nextToken()) {
                list.add(value(json, next));
            }
            return list;
        }
        if (token == JsonToken.VALUE_STRING) {
            return json.getText();
        }
        if (token == JsonToken.VALUE_TRUE || token == JsonToken.VALUE_FALSE) {
            return token == JsonToken.VALUE_TRUE;
        }
        if (token == JsonToken.VALUE_NUMBER_INT && json.getNumberType() != JsonParser.NumberType.BIG_INTEGER) {
            return json.getLongValue();
        }
        throw new SnapshotException("not a snapshot: it has "
                + (token == null ? "no value" : Foreign.quoted(json.getText())) + " where none has");
    }
}
