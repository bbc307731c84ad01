/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.HostIrq;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import java.util.List;
import java.util.Locale;

/** Prints the output of {@code kvmirq vfio} as one JSON document. Values that the host does not show are null. */
final class VfioJson {
    private VfioJson() {}

    static void write(HostFacts host, List<VfioView> devices, Terminal terminal) {
        Json.print(terminal, "kvmirq.vfio/1", json -> json.text("kernel", host.kernel())
                .texts("iommus", host.iommus())
                .object("posting", one -> write(PostingOutlook.of(host), one))
                .objects("devices", devices, (one, device) -> write(host, device, one)));
    }

    static void write(PostingOutlook outlook, Json json) {
        (outlook.posts().isPresent() ? json.flag("on", outlook.posts().get()) : json.none("on"))
                .text("text", outlook.text())
                .text("do", outlook.remedy());
    }

    private static void write(HostFacts host, VfioView view, Json json) {
        PciDevice device = view.device();
        json.text("address", device.address().toString())
                .text("vendor", Hex.padded(device.vendor(), 16))
                .text("device", Hex.padded(device.device(), 16))
                .text("class", Hex.padded(device.classCode(), 24))
                .text("driver", device.driver())
                .text("driverOverride", device.override())
                .number("group", device.group())
                .objects("groupOthers", device.others(), (one, other) -> one.text("name", other.name())
                        .text("driver", other.driver())
                        .flag("blocks", other.blocks()))
                .text("cdev", device.cdev())
                .texts("resets", device.resets())
                .number("numaNode", device.numaNode())
                .objects("irqs", view.outlook().irqs(), (one, irqs) -> one.number(
                                "index", irqs.kind().index())
                        .text("name", irqs.kind().name())
                        .number("count", irqs.count())
                        .texts("flags", irqs.flags().stream().map(Enum::name).toList()))
                .objects("armed", view.armed(), (one, irq) -> one.number(
                                "hostIrq", irq.irq().number())
                        .text("mode", irq.kind().name().toLowerCase(Locale.ROOT))
                        .number("vector", irq.vector()))
                .numbers(
                        "allocatedHostIrqs",
                        device.messageIrqs().stream().map(HostIrq::number).toList())
                .texts("uses", view.uses())
                .flag("usable", view.isUsable())
                .texts("flaws", view.flaws())
                .objects("refusals", view.outlook().refusals(), (one, refusal) -> one.text(
                                "cause", VfioText.label(refusal.cause()))
                        .text("text", refusal.text())
                        .text("do", refusal.remedy()))
                .texts("bind", view.bind(host))
                .texts("giveBack", view.giveBack(host));
    }
}
