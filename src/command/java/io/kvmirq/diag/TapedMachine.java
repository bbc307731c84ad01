/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmEnableCap;
import io.kvmirq.uapi.Uapi.KvmIrqRouting;
import io.kvmirq.uapi.Uapi.KvmIrqRoutingEntry;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** A VM on a tape: its irqchip, its vCPUs and its routes. For one thread. */
final class TapedMachine {
    /** GSIs that have a route from KVM_CREATE_IRQCHIP on: the pins of the I/O APIC. */
    private static final int PINS = 24;

    /** The interrupts of a VGIC whose VMM sets no number, VGIC_NR_IRQS_LEGACY, and those that are no SPIs. */
    private static final int USUAL_INTIDS = 256;

    private static final int PRIVATE_INTIDS = 32;
    private static final int MOST_INTIDS = 1024;

    /** KVM_VGIC_V3_ITS_SIZE: any address in the frames of an ITS finds the ITS. */
    private static final long ITS_SIZE = 0x20000;

    /** The routes of a GSI, and since when it has routes without a gap. Immutable. */
    record Routed(List<Route> routes, long since, long at) {}

    boolean lapics;
    boolean apicIds32Bit;
    boolean pitReinjects;
    final TreeSet<Integer> vcpus = new TreeSet<>();
    final Map<Integer, Routed> routes = new TreeMap<>();
    /** By GSI, the call that removed its last route. */
    final Map<Integer, Long> unrouted = new HashMap<>();

    final Set<String> vfioFiles = new HashSet<>();
    /** The addresses of the guest's ITS. */
    final TreeSet<Long> its = new TreeSet<>();

    private int intids = USUAL_INTIDS;

    /** As if in x2APIC mode: physical destinations do not depend on it, and the guest has set no logical id yet. */
    Destinations<LapicIds> destinations() {
        return new Destinations<>(vcpus.stream().map(LapicIds::x2apic).toList(), apicIds32Bit, true, true);
    }

    /** Whether a message to this address reaches an ITS. */
    boolean hasIts(long address) {
        @Nullable Long base = its.floor(address);
        return base != null && address - base < ITS_SIZE;
    }

    /**
     * KVM_CREATE_IRQCHIP on x86, or the VGIC is initialized: kvm_vgic_setup_default_irq_routing(). Each GSI goes to the pin
     * or SPI of its number.
     */
    void createIrqchip(TapeLine.Call call, Route.Chip chip) {
        lapics |= chip != Route.Chip.VGIC;
        int pins = chip == Route.Chip.VGIC ? Math.min(intids, MOST_INTIDS) - PRIVATE_INTIDS : PINS;
        for (int pin = 0; pin < pins; pin++) {
            Route route = new Route.Pin(new Gsi(pin), chip, pin);
            routes.put(pin, new Routed(List.of(route), call.number(), call.number()));
        }
    }

    /** KVM_ENABLE_CAP. */
    void enable(ByteBuffer in) {
        int capability = in.getInt(KvmEnableCap.CAP);
        lapics |= capability == Uapi.KVM_CAP_SPLIT_IRQCHIP;
        apicIds32Bit |= capability == Uapi.KVM_CAP_X2APIC_API
                && (in.getLong(KvmEnableCap.ARGS) & Uapi.KVM_X2APIC_API_USE_32BIT_IDS) != 0;
    }

    /** KVM_SET_DEVICE_ATTR of a VGIC or ITS. */
    void setVgic(TapeLine.Call call, int group, long attribute) {
        Optional<ByteBuffer> data = call.data();
        if (group == UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR && attribute == UapiArm64.KVM_VGIC_ITS_ADDR_TYPE) {
            data.filter(bytes -> bytes.limit() >= Long.BYTES).ifPresent(bytes -> its.add(bytes.getLong(0)));
        } else if (group == UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS) {
            data.filter(bytes -> bytes.limit() >= Integer.BYTES).ifPresent(bytes -> intids = bytes.getInt(0));
        }
    }

    /**
     * KVM_SET_GSI_ROUTING.
     *
     * @return whether a GSI has new routes
     */
    boolean setRoutes(TapeLine.Call call, ByteBuffer in, boolean x86) {
        Map<Integer, List<Route>> table = new TreeMap<>();
        int held = (in.limit() - KvmIrqRouting.SIZE) / KvmIrqRoutingEntry.SIZE;
        long count = Math.min(Integer.toUnsignedLong(in.getInt(KvmIrqRouting.NR)), held);
        for (int i = 0; i < count; i++) {
            route(in, KvmIrqRouting.SIZE + i * KvmIrqRoutingEntry.SIZE, x86)
                    .ifPresent(route -> table.computeIfAbsent(route.gsi().number(), gsi -> new ArrayList<>())
                            .add(route));
        }
        routes.keySet().stream().filter(gsi -> !table.containsKey(gsi)).forEach(gone -> {
            unrouted.put(gone, call.number());
        });
        Map<Integer, Routed> before = Map.copyOf(routes);
        routes.clear();
        table.forEach((gsi, ofGsi) -> {
            @Nullable Routed old = before.get(gsi);
            boolean same = old != null && old.routes().equals(ofGsi);
            routes.put(gsi, same ? old : new Routed(ofGsi, old == null ? call.number() : old.since(), call.number()));
        });
        return table.keySet().stream().anyMatch(gsi -> !Objects.equals(routes.get(gsi), before.get(gsi)));
    }

    /** A route to a chip or a message; empty for the other kinds and for numbers that no kernel takes. */
    private static Optional<Route> route(ByteBuffer in, int at, boolean x86) {
        int gsi = in.getInt(at + KvmIrqRoutingEntry.GSI);
        int type = in.getInt(at + KvmIrqRoutingEntry.TYPE);
        if (gsi < 0) {
            return Optional.empty();
        }
        try {
            if (type == Uapi.KVM_IRQ_ROUTING_MSI) {
                long address = (long) in.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_HI) << 32
                        | Integer.toUnsignedLong(in.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_LO));
                boolean valid = (in.getInt(at + KvmIrqRoutingEntry.FLAGS) & Uapi.KVM_MSI_VALID_DEVID) != 0;
                OptionalInt device =
                        valid ? OptionalInt.of(in.getInt(at + KvmIrqRoutingEntry.U_MSI_DEVID)) : OptionalInt.empty();
                MsiMessage message = new MsiMessage(address, in.getInt(at + KvmIrqRoutingEntry.U_MSI_DATA), device);
                return Optional.of(new Route.Msi(new Gsi(gsi), message));
            }
            int chip = in.getInt(at + KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP);
            for (Route.Chip known : Route.Chip.values()) {
                if (type == Uapi.KVM_IRQ_ROUTING_IRQCHIP && known.id() == chip && known == Route.Chip.VGIC != x86) {
                    int pin = in.getInt(at + KvmIrqRoutingEntry.U_IRQCHIP_PIN);
                    return Optional.of(new Route.Pin(new Gsi(gsi), known, pin));
                }
            }
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
        return Optional.empty();
    }
}
