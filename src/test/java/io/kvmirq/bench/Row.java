/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * A comparison, and a line of JSON in the file that all benchmarks add to.
 *
 * @param bench the name by which {@code make bench T=} starts it
 * @param operation both sides, such as {@code jni / C: eventfd write}
 * @param note what else distinguishes the row, such as the JDK; may be empty
 * @param unit of the samples: {@code ns}, or another as it is to be printed
 */
public record Row(String bench, String operation, String note, String unit, Goal goal, Rounds rounds) {
    private static final JsonFactory JSON = new JsonFactory();

    /** A name that no other row of a run has. */
    public String name() {
        return bench + ": " + operation + (note.isEmpty() ? "" : ", " + note);
    }

    /** The median over the rounds. */
    public double ratio() {
        return ratio(50);
    }

    double ratio(int percentile) {
        return rounds.percentile(goal::ratio, percentile);
    }

    /** Of the 10th percentile of each side: disturbed rounds do not reach it. */
    double ratioOfTenths() {
        return goal.ratio(rounds.ours(10), rounds.theirs(10));
    }

    boolean isMet() {
        return goal.isMetBy(ratio());
    }

    String toJson() {
        StringWriter line = new StringWriter();
        try (JsonGenerator json = JSON.createGenerator(line)) {
            json.writeStartObject();
            json.writeStringField("bench", bench);
            json.writeStringField("operation", operation);
            json.writeStringField("note", note);
            json.writeStringField("unit", unit);
            json.writeStringField("goal", goal.kind().name());
            json.writeNumberField("limit", goal.kind() == Goal.Kind.NONE ? 0 : goal.limit());
            write(json, "ours", rounds.ours());
            write(json, "theirs", rounds.theirs());
            json.writeEndObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return line.toString();
    }

    private static void write(JsonGenerator json, String name, double[] values) throws IOException {
        json.writeFieldName(name);
        json.writeArray(values, 0, values.length);
    }

    /** @throws IllegalArgumentException unless {@link #toJson} wrote the line */
    static Row ofJson(String line) {
        Map<String, String> texts = new HashMap<>();
        Map<String, double[]> samples = new HashMap<>();
        try (JsonParser json = JSON.createParser(line)) {
            json.nextToken();
            while (json.nextToken() == JsonToken.FIELD_NAME) {
                String field = json.currentName();
                if (json.nextToken() == JsonToken.START_ARRAY) {
                    samples.put(field, numbers(json));
                } else {
                    texts.put(field, json.getText());
                }
            }
        } catch (IOException e) {
            throw new IllegalArgumentException("no row of a benchmark: " + line, e);
        }
        if (texts.size() != 6 || samples.size() != 2) {
            throw new IllegalArgumentException("no row of a benchmark: " + line);
        }
        Goal goal = new Goal(Goal.Kind.valueOf(texts.get("goal")), Double.parseDouble(texts.get("limit")));
        return new Row(
                texts.get("bench"),
                texts.get("operation"),
                texts.get("note"),
                texts.get("unit"),
                goal.kind() == Goal.Kind.NONE ? Goal.none() : goal,
                new Rounds(samples.get("ours"), samples.get("theirs")));
    }

    private static double[] numbers(JsonParser json) throws IOException {
        double[] numbers = new double[0];
        while (json.nextToken() != JsonToken.END_ARRAY) {
            numbers = Arrays.copyOf(numbers, numbers.length + 1);
            numbers[numbers.length - 1] = json.getDoubleValue();
        }
        return numbers;
    }
}
