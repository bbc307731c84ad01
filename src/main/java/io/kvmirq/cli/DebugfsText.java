/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.gic.ItsState;
import io.kvmirq.arch.gic.VgicState;
import io.kvmirq.arch.gic.VgicState.Delivery;
import io.kvmirq.arch.gic.VgicState.Interrupt;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/** Prints what a debugfs file of a VGIC or an ITS says: what is not idle, and what GICv4 delivers. */
final class DebugfsText {
    static final String VGIC = "vgic-state";
    static final String ITS = "vgic-its-state";

    /** The kinds of {@code kvmirq decode} that are files. */
    static final List<String> KINDS = List.of(VGIC, ITS);

    /** More than a file of 512 vCPUs and 65536 LPIs. */
    private static final int MOST_BYTES = 16 << 20;

    private final Terminal terminal;

    DebugfsText(Terminal terminal) {
        this.terminal = terminal;
    }

    /** @throws IllegalArgumentException if the text is not that of the file, or is cut off */
    void print(String kind, InputStream in) throws IOException {
        byte[] bytes = in.readNBytes(MOST_BYTES + 1);
        if (bytes.length > MOST_BYTES) {
            throw new IllegalArgumentException(
                    kind + " has more than " + MOST_BYTES + " bytes: expected a file of debugfs");
        }
        String text = new String(bytes, StandardCharsets.UTF_8);
        if (kind.equals(VGIC)) {
            print(VgicState.parse(text));
        } else {
            print(ItsState.parse(text));
        }
    }

    private void print(VgicState state) {
        if (!state.isComplete()) {
            throw new IllegalArgumentException("vgic-state has " + state.count(VgicState.Kind.SPI) + " of "
                    + state.spis() + " SPIs and " + state.count(VgicState.Kind.LPI) + " of "
                    + state.lpis().orElse(0)
                    + " LPIs: expected the whole file, of a VGIC that is initialized");
        }
        terminal.out()
                .println(Hex.printable(state.model(), Integer.MAX_VALUE) + ", "
                        + (state.enabled() ? "enabled" : "disabled") + ": " + state.spis() + " SPIs"
                        + (state.lpis().isPresent() ? ", " + state.lpis().getAsInt() + " LPIs" : ""));
        List<Interrupt> told = state.interrupts().stream()
                .filter(one -> one.isPending() || one.lineHigh() || one.active() || one.delivery() != Delivery.SOFTWARE)
                .toList();
        if (!told.isEmpty()) {
            row("OF", "INTERRUPT", "TARGET", "STATE", "TYPE", "PRIORITY", "DELIVERED BY");
            told.forEach(this::row);
        }
        terminal.out().println("  " + (state.interrupts().size() - told.size()) + " others are idle");
        conclude(state.forwarded().size(), state.count(VgicState.Kind.LPI), "LPI");
    }

    private void conclude(long forwarded, long all, String what) {
        terminal.out()
                .println(
                        all == 0
                                ? "The guest has mapped no " + what + "."
                                : forwarded == 0
                                        ? "No " + what + " is forwarded: each passes through KVM."
                                        : forwarded + " of " + all + " " + what
                                                + "s are forwarded: GICv4 delivers without KVM.");
    }

    private void row(Interrupt one) {
        List<String> state = new ArrayList<>();
        if (one.isPending()) {
            state.add("pending");
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
        if (one.delivery() == Delivery.VLPI) {
            state.add("in hardware");
        }
        row(
                vcpu(one.owner()),
                one.kind() + " " + one.id(),
                vcpu(one.target()),
                state.isEmpty() ? "idle" : String.join(", ", state),
                one.level() ? "level" : "edge",
                Integer.toString(one.priority()),
                delivery(one));
    }

    private static String vcpu(OptionalInt number) {
        return number.isPresent() ? "vCPU " + number.getAsInt() : "-";
    }

    private static String delivery(Interrupt one) {
        return switch (one.delivery()) {
            case SOFTWARE -> "KVM";
            case MAPPED -> "KVM, ends physical " + one.hardwareId();
            case VLPI -> "GICv4 (vLPI)";
            case VSGI -> "GICv4.1 (vSGI)";
        };
    }

    private void row(Object... cells) {
        terminal.out()
                .println(String.format("  %-9s %-10s %-8s %-36s %-6s %8s  %s", cells)
                        .stripTrailing());
    }

    private void print(ItsState state) {
        for (ItsState.Device device : state.devices()) {
            terminal.out()
                    .println("Device " + Hex.of(device.id()) + ", events 0\u2013" + device.lastEvent() + ": "
                            + device.translations().size() + " mapped");
            for (ItsState.Translation one : device.translations()) {
                terminal.out()
                        .println("  event " + one.event() + " is LPI " + one.id() + " of collection " + one.collection()
                                + ", " + way(one));
            }
        }
        long forwarded = state.devices().stream()
                .flatMap(device -> device.translations().stream())
                .filter(ItsState.Translation::forwarded)
                .count();
        long all = state.devices().stream()
                .mapToLong(device -> device.translations().size())
                .sum();
        conclude(forwarded, all, "event");
    }

    private static String way(ItsState.Translation one) {
        return one.target().isEmpty()
                ? "no vCPU: messages are dropped"
                : "vCPU " + one.target().getAsLong() + ", delivered by " + (one.forwarded() ? "GICv4 (vLPI)" : "KVM");
    }
}
