/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.mirror.Event;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmIrqRouting;
import io.kvmirq.uapi.Uapi.KvmIrqRoutingEntry;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;

/** The irqchips and routing tables of the VMs on a tape, logged as steps. For one thread. */
final class TapedRoutes {
    /** GSIs that have a route from KVM_CREATE_IRQCHIP on: the pins of the I/O APIC. */
    private static final int PINS = 24;

    /** The default number of a VGIC's interrupts, VGIC_NR_IRQS_LEGACY, and the number of private ones. */
    private static final int USUAL_INTIDS = 256;

    private static final int PRIVATE_INTIDS = 32;
    private static final int MOST_INTIDS = 1024;

    private final TapedLog log;
    /** The number of INTIDs of each VM's VGIC. */
    private final Map<String, Integer> intids = new HashMap<>();

    private final Map<String, Map<Gsi, List<Route>>> tables = new HashMap<>();

    TapedRoutes(TapedLog log) {
        this.log = log;
    }

    /** KVM_CREATE_IRQCHIP on x86: each GSI of the I/O APIC goes to the pin of its number. */
    void createIrqchip(TapeLine.Call call) {
        create(call, "KVM_CREATE_IRQCHIP", call.on(), Event.Irqchip.FULL, Route.Chip.IOAPIC, PINS);
    }

    /** The VGIC is initialized: kvm_vgic_setup_default_irq_routing(). Each GSI goes to the SPI of its number. */
    void initializeVgic(TapeLine.Call call, String vm) {
        int spis = Math.min(intids.getOrDefault(vm, USUAL_INTIDS), MOST_INTIDS) - PRIVATE_INTIDS;
        create(call, "KVM_DEV_ARM_VGIC_CTRL_INIT", vm, Event.Irqchip.VGIC, Route.Chip.VGIC, spis);
    }

    private void create(TapeLine.Call call, String name, String vm, Event.Irqchip kind, Route.Chip chip, int pins) {
        log.add(call, name, vm, new Event.IrqchipCreated(kind));
        Map<Gsi, List<Route>> table = new TreeMap<>();
        for (int pin = 0; pin < pins; pin++) {
            table.put(new Gsi(pin), List.of(new Route.Pin(new Gsi(pin), chip, pin)));
        }
        commit(call, name, vm, table);
    }

    /** KVM_SET_DEVICE_ATTR of a VGIC or ITS. */
    void setVgic(TapeLine.Call call, String vm, int group, long attribute) {
        Optional<ByteBuffer> data = call.data();
        if (group == UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR && attribute == UapiArm64.KVM_VGIC_ITS_ADDR_TYPE) {
            data.filter(bytes -> bytes.limit() >= Long.BYTES)
                    .ifPresent(
                            bytes -> log.add(call, "KVM_VGIC_ITS_ADDR_TYPE", vm, new Event.ItsAdded(bytes.getLong(0))));
        } else if (group == UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS) {
            data.filter(bytes -> bytes.limit() >= Integer.BYTES).ifPresent(bytes -> intids.put(vm, bytes.getInt(0)));
        }
    }

    /** KVM_SET_GSI_ROUTING. @return whether a GSI has new routes */
    boolean set(TapeLine.Call call, ByteBuffer in, boolean x86) {
        Map<Gsi, List<Route>> table = new TreeMap<>();
        int held = (in.limit() - KvmIrqRouting.SIZE) / KvmIrqRoutingEntry.SIZE;
        long count = Math.min(Integer.toUnsignedLong(in.getInt(KvmIrqRouting.NR)), held);
        for (int i = 0; i < count; i++) {
            decode(in, KvmIrqRouting.SIZE + i * KvmIrqRoutingEntry.SIZE, x86)
                    .ifPresent(route -> table.computeIfAbsent(route.gsi(), gsi -> new ArrayList<>())
                            .add(route));
        }
        return commit(call, "KVM_SET_GSI_ROUTING", call.on(), table);
    }

    /** Logs each GSI whose routes change. @return whether one has new routes */
    private boolean commit(TapeLine.Call call, String name, String vm, Map<Gsi, List<Route>> table) {
        Map<Gsi, List<Route>> before = Objects.requireNonNullElse(tables.put(vm, table), Map.of());
        before.keySet().stream().filter(gsi -> !table.containsKey(gsi)).forEach(gone -> {
            log.add(call, name, vm, Event.RoutesCommitted.without(gone));
        });
        boolean changed = false;
        for (Map.Entry<Gsi, List<Route>> entry : table.entrySet()) {
            if (!entry.getValue().equals(before.get(entry.getKey()))) {
                log.add(call, name, vm, new Event.RoutesCommitted(Map.of(entry.getKey(), entry.getValue())));
                changed = true;
            }
        }
        return changed;
    }

    /** A route to a chip or a message; empty for the other kinds and for numbers that no kernel takes. */
    private static Optional<Route> decode(ByteBuffer in, int at, boolean x86) {
        int type = in.getInt(at + KvmIrqRoutingEntry.TYPE);
        try {
            Gsi gsi = new Gsi(in.getInt(at + KvmIrqRoutingEntry.GSI));
            if (type == Uapi.KVM_IRQ_ROUTING_MSI) {
                long address = (long) in.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_HI) << 32
                        | Integer.toUnsignedLong(in.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_LO));
                boolean valid = (in.getInt(at + KvmIrqRoutingEntry.FLAGS) & Uapi.KVM_MSI_VALID_DEVID) != 0;
                OptionalInt device =
                        valid ? OptionalInt.of(in.getInt(at + KvmIrqRoutingEntry.U_MSI_DEVID)) : OptionalInt.empty();
                MsiMessage message = new MsiMessage(address, in.getInt(at + KvmIrqRoutingEntry.U_MSI_DATA), device);
                return Optional.of(new Route.Msi(gsi, message));
            }
            int chip = in.getInt(at + KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP);
            for (Route.Chip known : Route.Chip.values()) {
                if (type == Uapi.KVM_IRQ_ROUTING_IRQCHIP && known.id() == chip && known == Route.Chip.VGIC != x86) {
                    return Optional.of(new Route.Pin(gsi, known, in.getInt(at + KvmIrqRoutingEntry.U_IRQCHIP_PIN)));
                }
            }
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
        return Optional.empty();
    }
}
