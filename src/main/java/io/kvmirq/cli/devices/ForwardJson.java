/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.ForwardAnswer;
import io.kvmirq.selftest.ForwardPlan;
import io.kvmirq.selftest.ForwardResult;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Locale;

/** Writes the self-test of {@code kvmirq forward} as one JSON document, {@code kvmirq.forward/1}. */
final class ForwardJson {
    private ForwardJson() {}

    static void write(Kernel kernel, ForwardResult result, List<String> left, Terminal terminal) {
        try (JsonGenerator json = new JsonFactory()
                .createGenerator(terminal.out())
                .disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET)
                .enable(JsonWriteFeature.ESCAPE_NON_ASCII.mappedFeature())) {
            ForwardPlan plan = result.plan();
            json.writeStartObject();
            json.writeStringField("schema", "kvmirq.forward/1");
            json.writeStringField("kernel", kernel.isReal() ? "real" : "fake");
            json.writeStringField(
                    "kernelRelease", kernel.isReal() ? System.getProperty("os.version") : kernel.backendDescription());
            json.writeStringField("backend", kernel.backendName());
            json.writeStringField("device", plan.device());
            json.writeStringField("kind", ForwardCommand.label(plan.kind()));
            json.writeNumberField("inDevice", plan.inDevice());
            json.writeNumberField("first", plan.first());
            json.writeNumberField("count", plan.count());
            json.writeNumberField("atOnce", plan.atOnce());
            json.writeBooleanField("guestRan", plan.guestRuns());
            json.writeFieldName("abi2014");
            json.writeString(plan.abi2014()
                    .map(probe -> probe.name().toLowerCase(Locale.ROOT))
                    .orElse(null));
            json.writeArrayFieldStart("vectors");
            for (ForwardAnswer answer : result.answers()) {
                write(answer, json);
            }
            json.writeEndArray();
            json.writeNumberField("answered", result.answered());
            json.writeBooleanField("passed", result.passed() && left.isEmpty());
            if (result.failure().isPresent()) {
                json.writeStringField("failure", result.failure().get());
            }
            json.writeArrayFieldStart("left");
            for (String one : left) {
                json.writeString(one);
            }
            json.writeEndArray();
            json.writeEndObject();
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void write(ForwardAnswer answer, JsonGenerator json) throws IOException {
        json.writeStartObject();
        json.writeNumberField("vector", answer.vector());
        json.writeStringField("eventfd", answer.event());
        if (answer.gsi().isPresent()) {
            json.writeNumberField("gsi", answer.gsi().get().number());
        } else {
            json.writeNullField("gsi");
        }
        json.writeStringField("guest", answer.target());
        json.writeNumberField("arrived", answer.arrived());
        json.writeStringField("mechanism", answer.mechanism().label());
        posting(answer.predicted(), json);
        json.writeEndObject();
    }

    /** "posted" is true, false, or null if it cannot be predicted. */
    private static void posting(Posting predicted, JsonGenerator json) throws IOException {
        if (predicted instanceof Posting.Posted posted) {
            json.writeBooleanField("posted", true);
            if (posted.note().isPresent()) {
                json.writeStringField("why", posted.note().get());
            }
        } else if (predicted instanceof Posting.NotPosted not) {
            json.writeBooleanField("posted", false);
            json.writeStringField("why", not.reason());
            json.writeStringField("do", not.remedy());
        } else if (predicted instanceof Posting.Unknown unknown) {
            json.writeNullField("posted");
            json.writeStringField("why", unknown.reason());
        }
    }
}
