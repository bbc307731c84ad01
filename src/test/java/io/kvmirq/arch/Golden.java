/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A structure that kernel code made, with what the kernel's own definitions read in it.
 *
 * @param id its name
 * @param kind of the structure
 * @param words lowest address first
 * @param fields in order
 * @param valid whether the manual allows it
 * @param decodeOnly whether the fields leave bits out
 */
public record Golden(
        String id, String kind, List<Long> words, Map<String, Long> fields, boolean valid, boolean decodeOnly) {
    /** One structure a line, made from {@link #SHARED}. */
    public static final Path COPY = Machine.root().resolve("src/test/resources/x86.jsonl");

    /** Where the copy comes from: there for those who work on the project. */
    public static final Path SHARED = Machine.root().resolve("../shared/vectors/x86.json");

    /** All of them. */
    public static List<Golden> all() throws IOException {
        List<Golden> all = new ArrayList<>();
        for (String line : Files.readAllLines(COPY)) {
            try (JsonParser json = new JsonFactory().createParser(line)) {
                json.nextToken();
                all.add(read(json));
            }
        }
        return all;
    }

    /** As the shared file has them. */
    public static List<Golden> shared() throws IOException {
        List<Golden> all = new ArrayList<>();
        try (JsonParser json = new JsonFactory().createParser(SHARED.toFile())) {
            while (!"vectors".equals(json.currentName())) {
                json.nextToken();
            }
            json.nextToken();
            while (json.nextToken() == JsonToken.START_OBJECT) {
                all.add(read(json));
            }
        }
        return all;
    }

    /** Golden vectors of a kind. */
    public static Stream<Golden> of(String kind) throws IOException {
        return all().stream().filter(golden -> golden.kind().equals(kind));
    }

    /** By its name. */
    public static Golden named(String id) throws IOException {
        return all().stream()
                .filter(golden -> golden.id().equals(id))
                .findFirst()
                .orElseThrow();
    }

    /** The words as an array. */
    public long[] array() {
        return words.stream().mapToLong(Long::longValue).toArray();
    }

    /** The value of a field that it has. */
    public long field(String name) {
        return Optional.ofNullable(fields.get(name)).orElseThrow();
    }

    /** A field of one bit. */
    public boolean bit(String name) {
        return field(name) == 1;
    }

    private static Golden read(JsonParser json) throws IOException {
        Map<String, String> texts = new LinkedHashMap<>();
        List<Long> words = new ArrayList<>();
        Map<String, Long> fields = new LinkedHashMap<>();
        for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
            JsonToken value = json.nextToken();
            if (value == JsonToken.START_ARRAY) {
                while (json.nextToken() != JsonToken.END_ARRAY) {
                    words.add(unsigned(json.getText()));
                }
            } else if (value == JsonToken.START_OBJECT) {
                for (String field = json.nextFieldName(); field != null; field = json.nextFieldName()) {
                    fields.put(field, unsigned(json.nextTextValue()));
                }
            } else {
                texts.put(name, json.getText());
            }
        }
        return new Golden(
                texts.getOrDefault("id", ""),
                texts.getOrDefault("kind", ""),
                words,
                fields,
                "true".equals(texts.get("valid")),
                "true".equals(texts.get("decodeOnly")));
    }

    private static long unsigned(@Nullable String hex) {
        if (hex == null || !hex.startsWith("0x")) {
            throw new AssertionError("expected a hex string, got " + hex);
        }
        return Long.parseUnsignedLong(hex.substring(2), 16);
    }

    @Override
    public String toString() {
        return id;
    }
}
