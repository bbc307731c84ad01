/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import io.kvmirq.HostIrq;
import io.kvmirq.host.HostFacts;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.PciDevice;
import io.kvmirq.host.VfioOutlook;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;

/** Prints what {@code kvmirq vfio} shows, as one JSON document. What the host does not show is null. */
final class VfioJson {
    private final JsonGenerator json;

    private VfioJson(JsonGenerator json) {
        this.json = json;
    }

    static void write(HostFacts host, List<VfioView> devices, Terminal terminal) {
        try (JsonGenerator json = new JsonFactory()
                .createGenerator(terminal.out())
                .disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET)
                .enable(JsonWriteFeature.ESCAPE_NON_ASCII.mappedFeature())) {
            new VfioJson(json).document(host, devices);
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void document(HostFacts host, List<VfioView> devices) throws IOException {
        json.writeStartObject();
        json.writeStringField("schema", "kvmirq.vfio/1");
        text("kernel", host.kernel());
        texts("iommus", host.iommus());
        json.writeArrayFieldStart("devices");
        for (VfioView one : devices) {
            device(host, one);
        }
        json.writeEndArray();
        json.writeEndObject();
    }

    private void device(HostFacts host, VfioView one) throws IOException {
        PciDevice device = one.device();
        json.writeStartObject();
        json.writeStringField("address", device.address().toString());
        json.writeStringField("vendor", Hex.padded(device.vendor(), 16));
        json.writeStringField("device", Hex.padded(device.device(), 16));
        json.writeStringField("class", Hex.padded(device.classCode(), 24));
        text("driver", device.driver());
        text("driverOverride", device.override());
        number("group", device.group());
        json.writeArrayFieldStart("groupOthers");
        for (PciDevice.Member other : device.others()) {
            json.writeStartObject();
            json.writeStringField("name", other.name());
            text("driver", other.driver());
            json.writeBooleanField("blocks", other.blocks());
            json.writeEndObject();
        }
        json.writeEndArray();
        text("cdev", device.cdev());
        texts("resets", device.resets());
        number("numaNode", device.numaNode());
        irqs(one);
        json.writeBooleanField("usable", one.outlook().refusals().isEmpty());
        json.writeArrayFieldStart("refusals");
        for (VfioOutlook.Refusal refusal : one.outlook().refusals()) {
            json.writeStartObject();
            json.writeStringField("cause", VfioText.label(refusal.cause()));
            json.writeStringField("text", refusal.text());
            json.writeStringField("do", refusal.remedy());
            json.writeEndObject();
        }
        json.writeEndArray();
        texts("bind", one.bind(host));
        texts("giveBack", one.giveBack(host));
        json.writeEndObject();
    }

    private void irqs(VfioView one) throws IOException {
        json.writeArrayFieldStart("irqs");
        for (VfioOutlook.Irqs irqs : one.outlook().irqs()) {
            json.writeStartObject();
            json.writeNumberField("index", irqs.kind().index());
            json.writeStringField("name", irqs.kind().name());
            number("count", irqs.count());
            texts("flags", irqs.flags().stream().map(Enum::name).toList());
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeArrayFieldStart("armed");
        for (HostInterrupts.ArmedVector irq : one.armed()) {
            json.writeStartObject();
            json.writeNumberField("hostIrq", irq.irq().number());
            json.writeStringField("mode", irq.kind().name().toLowerCase(Locale.ROOT));
            json.writeNumberField("vector", irq.vector());
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeArrayFieldStart("allocatedHostIrqs");
        for (HostIrq irq : one.device().messageIrqs()) {
            json.writeNumber(irq.number());
        }
        json.writeEndArray();
    }

    private void text(String name, Optional<String> text) throws IOException {
        json.writeFieldName(name);
        if (text.isPresent()) {
            json.writeString(text.get());
        } else {
            json.writeNull();
        }
    }

    private void number(String name, OptionalInt number) throws IOException {
        json.writeFieldName(name);
        if (number.isPresent()) {
            json.writeNumber(number.getAsInt());
        } else {
            json.writeNull();
        }
    }

    private void texts(String name, List<String> texts) throws IOException {
        json.writeArrayFieldStart(name);
        for (String text : texts) {
            json.writeString(text);
        }
        json.writeEndArray();
    }
}
