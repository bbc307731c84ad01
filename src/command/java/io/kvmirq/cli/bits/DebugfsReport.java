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
        List<Interrupt> reported =
                state.interrupts().stream().filter(DebugfsReport::isReported).toList();
        if (!reported.isEmpty()) {
            row("OF", "INTERRUPT", "TARGET", "STATE", "TYPE", "PRIORITY", "DELIVERED BY");
            reported.forEach(this::row);
        }
        int idle = state.interrupts().size() - reported.size();
        terminal.line("  " + idle + (reported.isEmpty() ? " interrupts are" : idle == 1 ? " other is" : " others are")
                + " idle");
        if (state.lpis().isPresent()) {
            conclude(state, state.lpis().getAsInt());
        }
    }

    private static boolean isReported(Interrupt interrupt) {
        return interrupt.isPending()
                || interrupt.lineHigh()
                || interrupt.active()
                || interrupt.queuedOn().isPresent()
                || interrupt.delivery() != Delivery.SOFTWARE;
    }

    private void conclude(VgicState state, int announced) {
        int forwarded = state.vlpis().size();
        if (state.hasAllLpis()) {
            conclude(forwarded, announced, "LPI");
            return;
        }
        terminal.line("The header reports " + announced + " LPIs, but the file has " + state.count(VgicState.Kind.LPI)
                + ": it is truncated, or the guest was mapping LPIs."
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

    private void row(Interrupt interrupt) {
        row(
                vcpu(interrupt.owner()),
                interrupt.kind() + " " + interrupt.id(),
                vcpu(interrupt.target()),
                state(interrupt),
                interrupt.level() ? "level" : "edge",
                Integer.toString(interrupt.priority()),
                delivery(interrupt));
    }

    private static String state(Interrupt interrupt) {
        List<String> state = new ArrayList<>();
        if (interrupt.isPending()) {
            state.add("pending");
        }
        if (interrupt.sources() != 0) {
            state.add("from vCPU "
                    + BitSet.valueOf(new long[] {interrupt.sources()}).stream()
                            .mapToObj(Integer::toString)
                            .collect(Collectors.joining(" and ")));
        }
        if (interrupt.lineHigh()) {
            state.add("line high");
        }
        if (interrupt.active()) {
            state.add("active");
        }
        if (!interrupt.enabled()) {
            state.add("disabled");
        }
        if (interrupt.queuedOn().isPresent()) {
            state.add("queued on " + vcpu(interrupt.queuedOn()));
        }
        if (interrupt.delivery() == Delivery.VLPI) {
            state.add("in hardware");
        }
        return state.isEmpty() ? "idle" : String.join(", ", state);
    }

    private static String vcpu(OptionalInt number) {
        return number.isPresent() ? "vCPU " + number.getAsInt() : "-";
    }

    private static String delivery(Interrupt interrupt) {
        return switch (interrupt.delivery()) {
            case SOFTWARE -> "KVM";
            case HW_INTERRUPT -> "KVM, deactivates physical " + interrupt.hardwareId();
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
            for (ItsState.Translation translation : device.translations()) {
                terminal.line("  event " + translation.event() + " is LPI " + translation.id() + " of collection "
                        + translation.collection() + ", " + way(translation));
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

    private static String way(ItsState.Translation translation) {
        return translation.target().isEmpty()
                ? "no vCPU: messages are dropped"
                : "vCPU " + translation.target().getAsLong() + ", delivered by "
                        + (translation.isVlpi() ? "GICv4 (vLPI)" : "KVM");
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

    private static void write(Json json, Interrupt interrupt) {
        json.value("kind", interrupt.kind().name())
                .value("owner", interrupt.owner())
                .value("id", interrupt.id())
                .value("target", interrupt.target())
                .value("pending", interrupt.isPending())
                .value("pendingLatch", interrupt.pendingLatch())
                .value("lineHigh", interrupt.lineHigh())
                .value("active", interrupt.active())
                .value("enabled", interrupt.enabled())
                .value("level", interrupt.level())
                .value("group", interrupt.group())
                .value("delivery", interrupt.delivery().name().toLowerCase(Locale.ROOT))
                .value("hardwareId", interrupt.hardwareId())
                .value("targets", Hex.of(interrupt.targets()))
                .value("sources", Hex.of(interrupt.sources()))
                .value("priority", interrupt.priority())
                .value("queuedOn", interrupt.queuedOn());
    }

    void write(ItsState state) {
        Json.print(
                terminal,
                "kvmirq.vgic-its-state/1",
                json -> json.objects(
                        "devices", state.devices(), (object, device) -> object.value("id", Hex.of(device.id()))
                                .value("lastEvent", device.lastEvent())
                                .objects("events", device.translations(), DebugfsReport::write)));
    }

    private static void write(Json json, ItsState.Translation translation) {
        json.value("event", translation.event())
                .value("lpi", translation.id())
                .value("hardwareId", translation.hardwareId())
                .value("target", translation.target())
                .value("collection", translation.collection())
                .value("forwarded", translation.isVlpi());
    }
}
