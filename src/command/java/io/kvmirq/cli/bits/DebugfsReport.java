/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.arch.gic.debugfs.VgicState.Delivery;
import io.kvmirq.arch.gic.debugfs.VgicState.Interrupt;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/**
 * A debugfs file of a VGIC or an ITS: as text the interrupts that are not idle, or that GICv4 delivers; as JSON all of them,
 * with null for values that are absent.
 */
record DebugfsReport(Terminal terminal) {
    void print(VgicState state) {
        String spis = state.spis() == 0 ? "" : ": " + state.spis() + " SPIs";
        if (!state.isInitialized()) {
            terminal.line(state.model() + ", not initialized" + spis);
            return;
        }
        terminal.line(state.model() + ", " + (state.enabled() ? "enabled" : "disabled") + spis
                + (state.lpis().isPresent() ? ", " + state.lpis().getAsInt() + " LPIs" : ""));
        List<Interrupt> told =
                state.interrupts().stream().filter(DebugfsReport::isTold).toList();
        if (!told.isEmpty()) {
            row("OF", "INTERRUPT", "TARGET", "STATE", "TYPE", "PRIORITY", "DELIVERED BY");
            told.forEach(this::row);
        }
        int idle = state.interrupts().size() - told.size();
        terminal.line(
                "  " + idle + (told.isEmpty() ? " interrupts are" : idle == 1 ? " other is" : " others are") + " idle");
        if (state.lpis().isPresent()) {
            conclude(state, state.lpis().getAsInt());
        }
    }

    private static boolean isTold(Interrupt one) {
        return one.isPending()
                || one.lineHigh()
                || one.active()
                || one.queuedOn().isPresent()
                || one.delivery() != Delivery.SOFTWARE;
    }

    private void conclude(VgicState state, int announced) {
        int forwarded = state.vlpis().size();
        if (state.hasAllLpis()) {
            conclude(forwarded, announced, "LPI");
            return;
        }
        terminal.line("The head says " + announced + " LPIs, the file has " + state.count(VgicState.Kind.LPI)
                + ": it is cut off, or the guest maps LPIs meanwhile."
                + (forwarded == 0
                        ? ""
                        : " Of these, " + forwarded + (forwarded == 1 ? " is" : " are") + " forwarded."));
    }

    private void conclude(long forwarded, long all, String what) {
        terminal.line(
                all == 0
                        ? "The guest has mapped no " + what + "."
                        : forwarded == 0
                                ? "No " + what + " is forwarded: each passes through KVM."
                                : forwarded + " of " + all + " " + what
                                        + (forwarded == 1 ? "s is" : "s are")
                                        + " forwarded: GICv4 delivers without KVM.");
    }

    private void row(Interrupt one) {
        row(
                vcpu(one.owner()),
                one.kind() + " " + one.id(),
                vcpu(one.target()),
                state(one),
                one.level() ? "level" : "edge",
                Integer.toString(one.priority()),
                delivery(one));
    }

    private static String state(Interrupt one) {
        List<String> state = new ArrayList<>();
        if (one.isPending()) {
            state.add("pending");
        }
        if (one.sources() != 0) {
            state.add("from vCPU "
                    + BitSet.valueOf(new long[] {one.sources()}).stream()
                            .mapToObj(Integer::toString)
                            .collect(Collectors.joining(" and ")));
        }
        if (one.lineHigh()) {
            state.add("line high");
        }
        if (one.active()) {
            state.add("active");
        }
        if (!one.enabled()) {
            state.add("disabled");
        }
        if (one.queuedOn().isPresent()) {
            state.add("queued on " + vcpu(one.queuedOn()));
        }
        if (one.delivery() == Delivery.VLPI) {
            state.add("in hardware");
        }
        return state.isEmpty() ? "idle" : String.join(", ", state);
    }

    private static String vcpu(OptionalInt number) {
        return number.isPresent() ? "vCPU " + number.getAsInt() : "-";
    }

    private static String delivery(Interrupt one) {
        return switch (one.delivery()) {
            case SOFTWARE -> "KVM";
            case HW_INTERRUPT -> "KVM, ends physical " + one.hardwareId();
            case VLPI -> "GICv4 (vLPI)";
            case VSGI -> "GICv4.1 (vSGI)";
        };
    }

    private void row(Object... cells) {
        terminal.line(
                String.format("  %-9s %-10s %-8s %-36s %-6s %8s  %s", cells).stripTrailing());
    }

    void print(ItsState state) {
        for (ItsState.Device device : state.devices()) {
            terminal.line("Device " + Hex.of(device.id()) + ", events 0-" + device.lastEvent() + ": "
                    + device.translations().size() + " mapped");
            for (ItsState.Translation one : device.translations()) {
                terminal.line("  event " + one.event() + " is LPI " + one.id() + " of collection " + one.collection()
                        + ", " + way(one));
            }
        }
        long forwarded = state.devices().stream()
                .flatMap(device -> device.translations().stream())
                .filter(ItsState.Translation::isVlpi)
                .count();
        long all = state.devices().stream()
                .mapToLong(device -> device.translations().size())
                .sum();
        conclude(forwarded, all, "event");
    }

    private static String way(ItsState.Translation one) {
        return one.target().isEmpty()
                ? "no vCPU: messages are dropped"
                : "vCPU " + one.target().getAsLong() + ", delivered by " + (one.isVlpi() ? "GICv4 (vLPI)" : "KVM");
    }

    void write(VgicState state) {
        Json.print(terminal, "kvmirq.vgic-state/1", json -> json.value("model", state.model())
                .value("initialized", state.isInitialized())
                .value("enabled", state.enabled())
                .value("spis", state.spis())
                .value("lpis", state.lpis())
                .value("hasAllLpis", state.hasAllLpis())
                .value("forwarded", state.vlpis().size())
                .objects("interrupts", state.interrupts(), DebugfsReport::write));
    }

    private static void write(Json json, Interrupt one) {
        json.value("kind", one.kind().name())
                .value("owner", one.owner())
                .value("id", one.id())
                .value("target", one.target())
                .value("pending", one.isPending())
                .value("pendingLatch", one.pendingLatch())
                .value("lineHigh", one.lineHigh())
                .value("active", one.active())
                .value("enabled", one.enabled())
                .value("level", one.level())
                .value("group", one.group())
                .value("delivery", one.delivery().name().toLowerCase(Locale.ROOT))
                .value("hardwareId", one.hardwareId())
                .value("targets", Hex.of(one.targets()))
                .value("sources", Hex.of(one.sources()))
                .value("priority", one.priority())
                .value("queuedOn", one.queuedOn());
    }

    void write(ItsState state) {
        Json.print(
                terminal,
                "kvmirq.vgic-its-state/1",
                json -> json.objects("devices", state.devices(), (one, device) -> one.value("id", Hex.of(device.id()))
                        .value("lastEvent", device.lastEvent())
                        .objects("events", device.translations(), DebugfsReport::write)));
    }

    private static void write(Json json, ItsState.Translation one) {
        json.value("event", one.event())
                .value("lpi", one.id())
                .value("hardwareId", one.hardwareId())
                .value("target", one.target())
                .value("collection", one.collection())
                .value("forwarded", one.isVlpi());
    }
}
