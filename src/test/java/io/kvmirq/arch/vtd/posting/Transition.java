/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The effect of one step on a descriptor's words, told from the kernel's routines and the manuals.
 *
 * @param values the step's arguments and effects, as they are spelt
 */
record Transition(String id, String op, Map<String, String> values, List<Long> before, List<Long> after) {
    /** One transition a line, made from the shared vectors. */
    static final Path COPY = Machine.root().resolve("src/test/resources/x86-transitions.jsonl");

    static List<Transition> of(String op) throws IOException {
        List<Transition> all = new ArrayList<>();
        for (String line : Files.readAllLines(COPY)) {
            try (JsonParser json = new JsonFactory().createParser(line)) {
                json.nextToken();
                all.add(read(json));
            }
        }
        return all.stream().filter(transition -> transition.op.equals(op)).toList();
    }

    /** As the shared file has them. */
    static List<Transition> shared(Path file) throws IOException {
        List<Transition> all = new ArrayList<>();
        try (JsonParser json = new JsonFactory().createParser(file.toFile())) {
            while (!"transitions".equals(json.currentName())) {
                json.nextToken();
            }
            json.nextToken();
            while (json.nextToken() == JsonToken.START_OBJECT) {
                all.add(read(json));
            }
        }
        return all;
    }

    private static Transition read(JsonParser json) throws IOException {
        Map<String, String> values = new HashMap<>();
        Map<String, List<Long>> words = new HashMap<>();
        for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
            JsonToken value = json.nextToken();
            if (value == JsonToken.START_ARRAY) {
                List<Long> list = new ArrayList<>();
                while (json.nextToken() != JsonToken.END_ARRAY) {
                    list.add(Long.parseUnsignedLong(json.getText().substring(2), 16));
                }
                words.put(name, list);
            } else if (value == JsonToken.START_OBJECT) {
                for (String field = json.nextFieldName(); field != null; field = json.nextFieldName()) {
                    json.nextToken();
                    values.put(field, json.getText());
                }
            } else {
                values.put(name, json.getText());
            }
        }
        return new Transition(
                values.getOrDefault("id", ""),
                values.getOrDefault("op", ""),
                values,
                words.getOrDefault("before", List.of()),
                words.getOrDefault("after", List.of()));
    }

    long[] words() {
        return before.stream().mapToLong(Long::longValue).toArray();
    }

    boolean isTrue(String name) {
        String value = values.getOrDefault(name, "");
        return value.equals("true") || value.equals("1");
    }

    int number(String name) {
        return Integer.decode(values.getOrDefault(name, ""));
    }

    @Override
    public String toString() {
        return id;
    }
}
