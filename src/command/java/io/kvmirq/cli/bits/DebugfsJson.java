/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import java.util.Locale;

/** Prints a debugfs file of a VGIC or an ITS as one JSON document, with all interrupts. Absent values are null. */
final class DebugfsJson {
    private DebugfsJson() {}

    static void write(VgicState state, Terminal terminal) {
        Json.print(terminal, "kvmirq.vgic-state/1", json -> json.text("model", state.model())
                .flag("initialized", state.isInitialized())
                .flag("enabled", state.enabled())
                .number("spis", state.spis())
                .number("lpis", state.lpis())
                .flag("hasAllLpis", state.hasAllLpis())
                .number("forwarded", state.vlpis().size())
                .objects("interrupts", state.interrupts(), DebugfsJson::write));
    }

    private static void write(Json json, VgicState.Interrupt one) {
        json.text("kind", one.kind().name())
                .number("owner", one.owner())
                .number("id", one.id())
                .number("target", one.target())
                .flag("pending", one.isPending())
                .flag("pendingLatch", one.pendingLatch())
                .flag("lineHigh", one.lineHigh())
                .flag("active", one.active())
                .flag("enabled", one.enabled())
                .flag("level", one.level())
                .number("group", one.group())
                .text("delivery", one.delivery().name().toLowerCase(Locale.ROOT))
                .number("hardwareId", one.hardwareId())
                .text("targets", Hex.of(one.targets()))
                .text("sources", Hex.of(one.sources()))
                .number("priority", one.priority())
                .number("queuedOn", one.queuedOn());
    }

    static void write(ItsState state, Terminal terminal) {
        Json.print(
                terminal,
                "kvmirq.vgic-its-state/1",
                json -> json.objects("devices", state.devices(), (one, device) -> one.text("id", Hex.of(device.id()))
                        .number("lastEvent", device.lastEvent())
                        .objects("events", device.translations(), DebugfsJson::write)));
    }

    private static void write(Json json, ItsState.Translation one) {
        json.number("event", one.event())
                .number("lpi", one.id())
                .number("hardwareId", one.hardwareId())
                .number("target", one.target())
                .number("collection", one.collection())
                .flag("forwarded", one.isVlpi());
    }
}
