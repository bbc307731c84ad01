/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The published schema of documents about a host. Knows the keywords that the schema has, and is stricter than a
 * validator in one point: an object has no member that the schema does not name. Immutable.
 */
final class Schema {
    static final Schema PUBLISHED = new Schema();

    private static final Object NULL = new Object();

    private final Map<?, ?> root;

    private Schema() {
        try {
            root = (Map<?, ?>) parse(Files.readString(Machine.root().resolve("src/docs/schema-2.json")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The flaws of a document, each with its place. */
    List<?> flaws(String document) {
        return flaws("", parse(document), root);
    }

    private List<Object> flaws(String at, Object value, Object schema) {
        List<Object> flaws = new ArrayList<>();
        ((Map<?, ?>) schema).forEach((keyword, says) -> flaws.addAll(flaws(at, value, (String) keyword, says)));
        return flaws;
    }

    private List<?> flaws(String at, Object value, String keyword, Object says) {
        List<?> is = List.of(List.of(at, "is", value, "not", says)); // the text of a subtree is long: no flaw, no text
        return switch (keyword) {
            case "$ref" -> {
                String name = ((String) says).substring("#/$defs/".length());
                yield flaws(at, value, ((Map<?, ?>) root.get("$defs")).get(name));
            }
            case "const" -> says.equals(value) ? List.of() : is;
            case "enum" -> ((List<?>) says).contains(value) ? List.of() : is;
            case "type" -> (says instanceof List<?> all ? all : List.of(says)).contains(type(value)) ? List.of() : is;
            case "oneOf" -> {
                List<List<Object>> all = ((List<?>) says)
                        .stream().map(object -> flaws(at, value, object)).toList();
                yield all.stream().filter(List::isEmpty).count() == 1 ? List.of() : List.of(at + ": " + all);
            }
            case "required" ->
                value instanceof Map<?, ?> map && map.keySet().containsAll((List<?>) says) ? List.of() : is;
            case "properties", "additionalProperties" -> {
                List<Object> flaws = new ArrayList<>();
                (value instanceof Map<?, ?> map ? map : Map.of()).forEach((name, member) -> {
                    Object known = keyword.equals("properties") ? ((Map<?, ?>) says).get(name) : says;
                    flaws.addAll(known == null ? List.of(at + "/" + name) : flaws(at + "/" + name, member, known));
                });
                yield flaws;
            }
            case "items" ->
                value instanceof List<?> all
                        ? all.stream()
                                .flatMap(object -> flaws(at + "/*", object, says).stream())
                                .toList()
                        : List.of();
            case "$schema", "$defs", "title", "description" -> List.of();
            default -> throw new IllegalArgumentException("unknown keyword " + keyword);
        };
    }

    private static String type(Object value) {
        return value instanceof Map
                ? "object"
                : value instanceof List
                        ? "array"
                        : value instanceof Long
                                ? "integer"
                                : value instanceof Boolean ? "boolean" : value == NULL ? "null" : "string";
    }

    private static Object parse(String text) {
        try (JsonParser json = new JsonFactory().createParser(text)) {
            json.nextToken();
            return value(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Object value(JsonParser json) throws IOException {
        Map<String, Object> members = new LinkedHashMap<>();
        List<Object> elements = new ArrayList<>();
        boolean isObject = json.currentToken() == JsonToken.START_OBJECT;
        if (isObject || json.currentToken() == JsonToken.START_ARRAY) {
            while (!json.nextToken().isStructEnd()) {
                if (isObject) {
                    String name = json.currentName();
                    json.nextToken();
                    members.put(name, value(json));
                } else {
                    elements.add(value(json));
                }
            }
            return isObject ? members : elements;
        }
        return switch (json.currentToken()) {
            case VALUE_NUMBER_INT -> json.getLongValue();
            case VALUE_TRUE, VALUE_FALSE -> json.getBooleanValue();
            case VALUE_NULL -> NULL;
            default -> json.getText();
        };
    }
}
