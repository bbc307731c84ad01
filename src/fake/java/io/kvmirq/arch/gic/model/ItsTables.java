/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The translations of an ITS, from device id and event id of a message to LPI and vCPU. A refused command changes
 * nothing and is not reported to the guest. Not thread-safe.
 *
 * <p>Source: {@code vgic_its_cmd_handle_*()} in arch/arm64/kvm/vgic/vgic-its.c.
 */
final class ItsTables {
    static final int NO_COLLECTION = -1;

    /** A mapped event. Its LPI has no target if the collection is not mapped to a vCPU. */
    record Event(int lpi, int collection) {}

    /** A mapped device. {@code table} is the guest address that its events are saved to. */
    record Device(int eventBits, long table, Map<Integer, Event> events) {
        private long place(int event) {
            return table + Integer.toUnsignedLong(event) * ItsTable.ENTRY;
        }
    }

    private final Lpis lpis;
    /** By id. Restoring a mapped device adds a second one, which is found after the first is removed. */
    private final Map<Integer, List<Device>> devices = new TreeMap<>();
    /** The target of each collection, set by MAPC; empty if an event refers to the collection before MAPC. */
    private final Map<Integer, OptionalInt> collections = new LinkedHashMap<>();

    ItsTables(Lpis lpis) {
        this.lpis = lpis;
    }

    Optional<Event> event(int device, int event) {
        return Optional.ofNullable(find(device)).map(mapped -> mapped.events().get(event));
    }

    /** The index of the vCPU that a collection is mapped to. Events of a collection that was unmapped have none. */
    private OptionalInt vcpu(int collection) {
        OptionalInt target = collections.getOrDefault(collection, OptionalInt.empty());
        return target.isPresent() ? lpis.index(target.getAsInt()) : target;
    }

    /** The vCPU of the collection of an event; empty if the event is not mapped, or its collection has no vCPU. */
    OptionalInt vcpu(int device, int event) {
        Optional<Event> found = event(device, event);
        return found.isPresent() ? vcpu(found.get().collection()) : OptionalInt.empty();
    }

    /** The LPI that a message becomes; empty if its event is not mapped, or its collection has no vCPU. */
    OptionalInt lpi(int device, int event) {
        Optional<Event> found = event(device, event);
        return found.isPresent() && vcpu(found.get().collection()).isPresent()
                ? OptionalInt.of(found.get().lpi())
                : OptionalInt.empty();
    }

    /** All devices with their ids, in the order of the ids. */
    List<Map.Entry<Integer, Device>> devices() {
        return devices.entrySet().stream()
                .flatMap(mapped -> mapped.getValue().stream().map(device -> Map.entry(mapped.getKey(), device)))
                .toList();
    }

    private @Nullable Device find(int device) {
        List<Device> mapped = devices.get(device);
        return mapped == null ? null : mapped.get(0);
    }

    /** The target of each collection, in the order in which they were first named. */
    Map<Integer, OptionalInt> collections() {
        return Collections.unmodifiableMap(collections);
    }

    void mapDevice(int device, int eventBits, long table) {
        unmapDevice(device);
        addDevice(device, eventBits, table);
    }

    /** Adds a device, after existing ones with the same id. */
    Device addDevice(int device, int eventBits, long table) {
        Device added = new Device(eventBits, table, new TreeMap<>());
        devices.computeIfAbsent(device, none -> new ArrayList<>()).add(added);
        return added;
    }

    void unmapDevice(int device) {
        List<Device> mapped = devices.get(device);
        if (mapped != null) {
            mapped.remove(0).events().values().forEach(event -> lpis.remove(event.lpi()));
            if (mapped.isEmpty()) {
                devices.remove(device);
            }
        }
    }

    void unmapDevices() {
        devices().forEach(device -> unmapDevice(device.getKey()));
    }

    boolean hasCollection(int collection) {
        return collections.containsKey(collection);
    }

    /** MAPC. Routes the LPIs of the collection to the target vCPU. */
    void mapCollection(int collection, int target) {
        collections.put(collection, OptionalInt.of(target));
        int vcpu = lpis.index(target).orElseThrow();
        for (Map.Entry<Integer, Device> device : devices()) {
            for (Event event : device.getValue().events().values()) {
                if (event.collection() == collection) {
                    lpis.target(event.lpi(), vcpu);
                }
            }
        }
    }

    /** Adds a collection without a vCPU, which a saved table may contain. */
    void nameCollection(int collection) {
        collections.putIfAbsent(collection, OptionalInt.empty());
    }

    /** MAPC without the valid bit. Events of the collection keep their LPIs, which get no messages. */
    void unmapCollection(int collection) {
        if (collections.remove(collection) == null) {
            return;
        }
        for (Map.Entry<Integer, Device> device : devices()) {
            device.getValue()
                    .events()
                    .replaceAll((id, event) ->
                            event.collection() == collection ? new Event(event.lpi(), NO_COLLECTION) : event);
        }
    }

    void unmapCollections() {
        new TreeMap<>(collections).keySet().forEach(this::unmapCollection);
    }

    /** Whether an event id is in range for a device and its table entry is in memory. */
    boolean takesEvent(int device, int event) {
        Device mapped = find(device);
        return mapped != null && takesEvent(mapped, event);
    }

    boolean takesEvent(Device mapped, int event) {
        return Integer.toUnsignedLong(event) < 1L << mapped.eventBits()
                && lpis.ram().isVisible(mapped.place(event));
    }

    /** MAPTI of an event of {@link #takesEvent}. A mapped event keeps its LPI. @return whether it is mapped now */
    boolean mapEvent(int device, int event, int lpi, int collection) {
        return mapEvent(Objects.requireNonNull(find(device)), event, lpi, collection);
    }

    boolean mapEvent(Device mapped, int event, int lpi, int collection) {
        if (mapped.events().containsKey(event)) {
            return true;
        }
        boolean isNew = !collections.containsKey(collection);
        nameCollection(collection);
        if (lpis.add(lpi, vcpu(collection))) {
            mapped.events().put(event, new Event(lpi, collection));
            return true;
        }
        if (isNew) {
            collections.remove(collection);
        }
        return false;
    }

    /** MOVI: the event and its LPI go to a collection that has a vCPU. */
    void moveEvent(int device, int event, int collection) {
        OptionalInt lpi = lpi(device, event);
        OptionalInt to = vcpu(collection);
        Device mapped = find(device);
        if (lpi.isPresent() && to.isPresent() && mapped != null) {
            mapped.events().put(event, new Event(lpi.getAsInt(), collection));
            lpis.target(lpi.getAsInt(), to.getAsInt());
        }
    }

    /** DISCARD: removes an event whose collection has a vCPU, and its entry in the saved table. */
    void discardEvent(int device, int event) {
        OptionalInt lpi = lpi(device, event);
        Device mapped = find(device);
        if (lpi.isPresent() && mapped != null) {
            mapped.events().remove(event);
            lpis.remove(lpi.getAsInt());
            lpis.ram().write(mapped.place(event), ByteBuffer.allocate(ItsTable.ENTRY));
        }
    }

    void clear(int device, int event) {
        event(device, event).ifPresent(mapped -> lpis.clear(mapped.lpi()));
    }

    void invalidate(int device, int event) {
        event(device, event).ifPresent(mapped -> lpis.invalidate(mapped.lpi()));
    }

    void invalidateAll(int collection) {
        vcpu(collection).ifPresent(lpis::invalidateAll);
    }
}
