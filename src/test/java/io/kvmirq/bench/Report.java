/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * The rows of one run, and what they were measured on.
 *
 * @param environment such as the kernel and the load, in the order in which it is shown
 * @param failed the parts of the run that ended with an error
 * @param before the ratios of a former report by the names of rows; empty if none was given
 * @param reasons by the beginning of a row's name, why a goal is missed and what was tried
 */
record Report(
        Map<String, String> environment,
        List<Row> rows,
        List<String> failed,
        Map<String, Double> before,
        Map<String, String> reasons) {
    static final String SCHEMA = "kvmirq.bench/1";
    static final String PROCESSORS = "processors";
    static final String LOAD_AT_BEGIN = "load at begin";
    static final String LOAD_AT_END = "load at end";
    /** By which signal, and during what, where the run did not end by itself. */
    static final String INTERRUPTED = "interrupted";

    private static final JsonFactory JSON = new JsonFactory();

    /**
     * The rows of a file, in its order; rows of one name become one, with the rounds of the last. A last line without an
     * end is that of a benchmark that was killed, and no row.
     */
    static List<Row> rows(Path file) throws IOException {
        Map<String, Row> rows = new LinkedHashMap<>();
        String text = Files.readString(file);
        for (String line : text.substring(0, text.lastIndexOf('\n') + 1).lines().toList()) {
            Row row = Row.ofJson(line);
            rows.put(row.name(), row);
        }
        return List.copyOf(rows.values());
    }

    List<Row> missed() {
        return rows.stream().filter(row -> !row.isMet()).toList();
    }

    List<Row> notCalm() {
        return rows.stream().filter(row -> !row.rounds().isCalm()).toList();
    }

    /** Whether a former report, if there is one, has any of these rows. */
    boolean isComparable() {
        return before.isEmpty() || rows.stream().anyMatch(row -> before.containsKey(row.name()));
    }

    /** Whether other programs want the processors too, as the load average at begin or end says. */
    boolean isBusy() {
        double processors = Double.parseDouble(environment.getOrDefault(PROCESSORS, "1e9"));
        return Stream.of(LOAD_AT_BEGIN, LOAD_AT_END)
                .map(environment::get)
                .filter(Objects::nonNull)
                .anyMatch(load -> Double.parseDouble(load.split(" ", -1)[0]) > processors);
    }

    /** The longest beginning of the row's name that has a reason, or nothing. */
    String reason(Row row) {
        return reasons.entrySet().stream()
                .filter(reason -> row.name().startsWith(reason.getKey()))
                .max(Map.Entry.comparingByKey())
                .map(Map.Entry::getValue)
                .orElse("");
    }

    String toJson() {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = JSON.createGenerator(text).useDefaultPrettyPrinter()) {
            json.writeStartObject();
            json.writeStringField("schema", SCHEMA);
            json.writeObjectFieldStart("environment");
            for (Map.Entry<String, String> entry : environment.entrySet()) {
                json.writeStringField(entry.getKey(), entry.getValue());
            }
            json.writeEndObject();
            write(json, "failed", failed);
            write(json, "notCalm", notCalm().stream().map(Row::name).toList());
            json.writeArrayFieldStart("rows");
            for (Row row : rows) {
                write(json, row);
            }
            json.writeEndArray();
            json.writeEndObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return text + "\n";
    }

    private static void write(JsonGenerator json, String name, Collection<String> texts) throws IOException {
        json.writeFieldName(name);
        json.writeArray(texts.toArray(String[]::new), 0, texts.size());
    }

    private static void write(JsonGenerator json, Row row) throws IOException {
        json.writeStartObject();
        json.writeStringField("name", row.name());
        write(json, "ratio", row.ratio());
        if (row.goal().kind() == Goal.Kind.NONE) {
            json.writeNullField("goal");
            json.writeNullField("met");
        } else {
            json.writeNumberField("goal", row.goal().bound());
            json.writeBooleanField("met", row.isMet());
        }
        write(json, "spread", row.rounds().spread());
        json.writeEndObject();
    }

    /** JSON has no infinite numbers. */
    private static void write(JsonGenerator json, String name, double number) throws IOException {
        if (Units.isMeasured(number)) {
            json.writeNumberField(name, number);
        } else {
            json.writeNullField(name);
        }
    }

    /**
     * The ratios of a former report, by the names of rows.
     *
     * @throws IllegalArgumentException in one sentence, if the file is no report
     */
    static Map<String, Double> ratios(Path file) {
        Map<String, Double> ratios = new HashMap<>();
        boolean ours = false;
        String name = "";
        try (JsonParser json = JSON.createParser(file.toFile())) {
            while (json.nextToken() != null) {
                if (json.currentToken() != JsonToken.FIELD_NAME) {
                    continue;
                }
                String field = json.currentName();
                json.nextToken();
                switch (field) {
                    case "schema" -> ours = SCHEMA.equals(json.getText());
                    case "name" -> name = json.getText();
                    case "ratio" -> {
                        if (json.currentToken() != JsonToken.VALUE_NULL) {
                            ratios.put(name, json.getDoubleValue());
                        }
                    }
                    default -> {}
                }
            }
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read as a report: line "
                            + e.getLocation().getLineNr() + " ends early or is not what make bench writes",
                    e);
        } catch (IOException e) {
            throw new IllegalArgumentException(file + " cannot be read: " + e.getMessage(), e);
        }
        if (!ours) {
            throw new IllegalArgumentException(file + " is no report: its schema is not " + SCHEMA);
        }
        return ratios;
    }
}
