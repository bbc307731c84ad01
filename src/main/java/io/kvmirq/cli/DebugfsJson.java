/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Locale;
import java.util.OptionalInt;

/** Prints a debugfs file of a VGIC or an ITS as one JSON document, with all interrupts. What does not exist is null. */
final class DebugfsJson {
    private final JsonGenerator json;

    private DebugfsJson(JsonGenerator json) {
        this.json = json;
    }

    @FunctionalInterface
    private interface Document {
        void write(DebugfsJson to) throws IOException;
    }

    static void write(VgicState state, Terminal terminal) {
        write(terminal, to -> to.document(state));
    }

    static void write(ItsState state, Terminal terminal) {
        write(terminal, to -> to.document(state));
    }

    private static void write(Terminal terminal, Document document) {
        try (JsonGenerator json =
                new JsonFactory().createGenerator(terminal.out()).disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET)) {
            document.write(new DebugfsJson(json));
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void document(VgicState state) throws IOException {
        json.writeStartObject();
        json.writeStringField("schema", "kvmirq.vgic-state/1");
        json.writeStringField("model", state.model());
        json.writeBooleanField("initialized", state.isInitialized());
        json.writeBooleanField("enabled", state.enabled());
        json.writeNumberField("spis", state.spis());
        number("lpis", state.lpis());
        json.writeBooleanField("hasAllLpis", state.hasAllLpis());
        json.writeNumberField("forwarded", state.vlpis().size());
        json.writeArrayFieldStart("interrupts");
        for (VgicState.Interrupt one : state.interrupts()) {
            interrupt(one);
        }
        json.writeEndArray();
        json.writeEndObject();
    }

    private void interrupt(VgicState.Interrupt one) throws IOException {
        json.writeStartObject();
        json.writeStringField("kind", one.kind().name());
        number("owner", one.owner());
        json.writeNumberField("id", one.id());
        number("target", one.target());
        json.writeBooleanField("pending", one.isPending());
        json.writeBooleanField("pendingLatch", one.pendingLatch());
        json.writeBooleanField("lineHigh", one.lineHigh());
        json.writeBooleanField("active", one.active());
        json.writeBooleanField("enabled", one.enabled());
        json.writeBooleanField("level", one.level());
        json.writeNumberField("group", one.group());
        json.writeStringField("delivery", one.delivery().name().toLowerCase(Locale.ROOT));
        json.writeNumberField("hardwareId", one.hardwareId());
        json.writeStringField("targets", Hex.of(one.targets()));
        json.writeStringField("sources", Hex.of(one.sources()));
        json.writeNumberField("priority", one.priority());
        number("queuedOn", one.queuedOn());
        json.writeEndObject();
    }

    private void document(ItsState state) throws IOException {
        json.writeStartObject();
        json.writeStringField("schema", "kvmirq.vgic-its-state/1");
        json.writeArrayFieldStart("devices");
        for (ItsState.Device device : state.devices()) {
            json.writeStartObject();
            json.writeStringField("id", Hex.of(device.id()));
            json.writeNumberField("lastEvent", device.lastEvent());
            json.writeArrayFieldStart("events");
            for (ItsState.Translation one : device.translations()) {
                event(one);
            }
            json.writeEndArray();
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeEndObject();
    }

    private void event(ItsState.Translation one) throws IOException {
        json.writeStartObject();
        json.writeNumberField("event", one.event());
        json.writeNumberField("lpi", one.id());
        json.writeNumberField("hardwareId", one.hardwareId());
        if (one.target().isPresent()) {
            json.writeNumberField("target", one.target().getAsLong());
        } else {
            json.writeNullField("target");
        }
        json.writeNumberField("collection", one.collection());
        json.writeBooleanField("forwarded", one.isVlpi());
        json.writeEndObject();
    }

    private void number(String name, OptionalInt value) throws IOException {
        if (value.isPresent()) {
            json.writeNumberField(name, value.getAsInt());
        } else {
            json.writeNullField(name);
        }
    }
}
