/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import java.util.List;

/** Prints the output of {@code kvmirq vfio} as one JSON document. Values that the host does not show are null. */
final class VfioJson {
    private VfioJson() {}

    static void write(HostFacts host, List<VfioView> devices, Terminal terminal) {
        Json.print(terminal, "vfio", host, json -> json.texts("iommus", host.iommus())
                .value("posting", PostingOutlook.of(host))
                .objects("devices", devices, (one, device) -> write(host, device, one)));
    }

    private static void write(HostFacts host, VfioView view, Json json) {
        PciDevice device = view.device();
        json.value("address", device.address())
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
                .value("irqs", view.outlook().irqs())
                .value("armed", view.armed())
                .value("allocatedHostIrqs", device.messageIrqs())
                .texts("uses", view.uses())
                .flag("usable", view.isUsable())
                .value("link", view.link())
                .value("refusals", view.outlook().refusals())
                .texts("bind", view.bind(host))
                .texts("giveBack", view.giveBack(host));
    }
}
