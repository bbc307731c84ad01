/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Grade;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Optional;

/** Writes a self-test as one JSON document, {@code kvmirq.selftest/1}. */
final class SelftestJson {
    private SelftestJson() {}

    static void write(
            Kernel kernel, Irqchip irqchip, Optional<FakeKernel> fake, List<Result> results, OutputStream out) {
        try (JsonGenerator json =
                new JsonFactory().createGenerator(out).disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET)) {
            json.writeStartObject();
            json.writeStringField("schema", "kvmirq.selftest/1");
            json.writeStringField("kernel", kernel.isReal() ? "real" : "fake");
            json.writeStringField(
                    "kernelRelease", kernel.isReal() ? System.getProperty("os.version") : kernel.backendDescription());
            json.writeStringField("backend", kernel.backendName());
            json.writeStringField("irqchip", irqchip.label());
            if (!irqchip.runsGuest()) {
                // What is answered was seen in the pending state.
                json.writeBooleanField("guestRan", false);
            }
            if (fake.isPresent()) {
                json.writeArrayFieldStart("inferredRules");
                for (Answer rule : fake.get().rulesUsed()) {
                    if (rule.grade() == Grade.INFERRED) {
                        json.writeString(rule.name());
                    }
                }
                json.writeEndArray();
            }
            json.writeArrayFieldStart("scenarios");
            for (Result result : results) {
                write(result, json);
            }
            json.writeEndArray();
            json.writeEndObject();
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void write(Result result, JsonGenerator json) throws IOException {
        json.writeStartObject();
        json.writeStringField("name", result.scenario().label());
        json.writeBooleanField("passed", result.passed());
        json.writeNumberField("sent", result.sent());
        json.writeNumberField("answered", result.answered());
        json.writeNumberField("lost", result.lost());
        if (result.latency().isPresent()) {
            Result.Latency latency = result.latency().get();
            json.writeObjectFieldStart("latencyNanos");
            json.writeNumberField("min", latency.min());
            json.writeNumberField("p50", latency.p50());
            json.writeNumberField("p90", latency.p90());
            json.writeNumberField("p99", latency.p99());
            json.writeNumberField("max", latency.max());
            json.writeEndObject();
        }
        if (result.failure().isPresent()) {
            json.writeStringField("failure", result.failure().get());
        }
        if (result.skipped().isPresent()) {
            json.writeStringField("skipped", result.skipped().get());
        }
        json.writeEndObject();
    }
}
