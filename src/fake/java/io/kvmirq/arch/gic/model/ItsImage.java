/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.EmulatedIts.TableFault;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * The tables of an ITS in guest memory, in KVM's format version 0. Each entry has 8 bytes, little-endian, and holds the
 * distance to the next one. Source: "ITS Table ABI REV0" in Documentation/virt/kvm/devices/arm-vgic-its.rst; {@code
 * vgic_its_save_tables_v0()} in vgic-its.c.
 */
final class ItsImage {
    private static final BitField VALID = new BitField("valid", 63, 1);

    // A device
    private static final BitField EVENT_BITS = new BitField("size", 0, 5);
    private static final BitField EVENT_TABLE = new BitField("itt_addr", 5, 44);
    private static final int EVENT_TABLE_SHIFT = 8;
    private static final BitField NEXT_DEVICE = new BitField("next", 49, 14);

    // An event
    private static final BitField COLLECTION = new BitField("icid", 0, 16);
    private static final BitField LPI = new BitField("pintid", 16, 32);
    private static final BitField NEXT_EVENT = new BitField("next", 48, 16);

    // A collection
    private static final BitField TARGET = new BitField("rdbase", 16, 32);
    private static final long NO_TARGET = 0xffff_ffffL;

    private final EmulatedIts service;
    private final ItsTables tables;
    private final Lpis lpis;
    private final ByteBuffer entry = ByteBuffer.allocate(ItsTable.ENTRY).order(ByteOrder.LITTLE_ENDIAN);

    ItsImage(EmulatedIts service, ItsTables tables, Lpis lpis) {
        this.service = service;
        this.tables = tables;
        this.lpis = lpis;
    }

    private boolean write(long address, long value) {
        return lpis.ram().write(address, entry.clear().putLong(0, value));
    }

    private boolean read(long address) {
        return lpis.ram().read(address, entry.clear());
    }

    // Saving

    Optional<TableFault> save() {
        Optional<TableFault> fault = saveDevices();
        return fault.isPresent() ? fault : saveCollections();
    }

    private Optional<TableFault> saveDevices() {
        long table = service.read(EmulatedIts.BASER_DEVICES);
        List<Map.Entry<Integer, ItsTables.Device>> devices = tables.devices();
        List<Integer> ids = devices.stream().map(Map.Entry::getKey).toList();
        for (int i = 0; VALID.isSet(table) && i < ids.size(); i++) {
            ItsTables.Device device = devices.get(i).getValue();
            OptionalLong at = ItsTable.entry(table, ids.get(i), lpis.ram());
            if (at.isEmpty()) {
                return Optional.of(TableFault.CONTRADICTION);
            }
            Optional<TableFault> fault = saveEvents(device);
            if (fault.isPresent()) {
                return fault;
            }
            long value = VALID.mask()
                    | NEXT_DEVICE.with(distance(ids, i, NEXT_DEVICE))
                    | EVENT_TABLE.with(device.table() >>> EVENT_TABLE_SHIFT)
                    | EVENT_BITS.with(device.eventBits() - 1L);
            if (!write(at.getAsLong(), value)) {
                return Optional.of(TableFault.NO_MEMORY);
            }
        }
        return Optional.empty();
    }

    /** The distance to the next id, limited to the field's maximum; 0 after the last. */
    private static long distance(List<Integer> ids, int i, BitField in) {
        return i + 1 == ids.size() ? 0 : Math.min(ids.get(i + 1) - ids.get(i), in.max());
    }

    private Optional<TableFault> saveEvents(ItsTables.Device device) {
        List<Map.Entry<Integer, ItsTables.Event>> events =
                List.copyOf(device.events().entrySet());
        List<Integer> ids = events.stream().map(Map.Entry::getKey).toList();
        for (int i = 0; i < events.size(); i++) {
            ItsTables.Event event = events.get(i).getValue();
            if (lpis.isUnreadable(event.lpi())) {
                return Optional.of(TableFault.VLPI);
            }
            if (event.collection() == ItsTables.NO_COLLECTION) {
                return Optional.of(TableFault.LOST_COLLECTION);
            }
            long value = NEXT_EVENT.with(distance(ids, i, NEXT_EVENT))
                    | LPI.with(event.lpi())
                    | COLLECTION.with(event.collection());
            if (!write(device.table() + (long) ids.get(i) * ItsTable.ENTRY, value)) {
                return Optional.of(TableFault.NO_MEMORY);
            }
        }
        return Optional.empty();
    }

    /** Saves the collections one after the other. An invalid entry ends them, if there is room. */
    private Optional<TableFault> saveCollections() {
        long table = service.read(EmulatedIts.BASER_COLLECTIONS);
        if (!VALID.isSet(table)) {
            return Optional.empty();
        }
        long at = ItsTable.address(table);
        for (Map.Entry<Integer, OptionalInt> collection : tables.collections().entrySet()) {
            OptionalInt target = collection.getValue();
            long value = VALID.mask()
                    | TARGET.with(target.isPresent() ? target.getAsInt() : NO_TARGET)
                    | COLLECTION.with(collection.getKey());
            if (!write(at, value)) {
                return Optional.of(TableFault.NO_MEMORY);
            }
            at += ItsTable.ENTRY;
        }
        boolean isFull = at == ItsTable.address(table) + ItsTable.size(table);
        return isFull || write(at, 0) ? Optional.empty() : Optional.of(TableFault.NO_MEMORY);
    }

    // Restoring

    Optional<TableFault> restore() {
        Optional<TableFault> fault = restoreCollections();
        if (fault.isEmpty()) {
            fault = restoreDevices();
            if (fault.isPresent()) {
                tables.unmapDevices();
            }
        }
        if (fault.isPresent()) {
            tables.unmapCollections();
        }
        return fault;
    }

    private Optional<TableFault> restoreCollections() {
        long table = service.read(EmulatedIts.BASER_COLLECTIONS);
        if (!VALID.isSet(table)) {
            return Optional.empty();
        }
        for (int at = 0; at < ItsTable.size(table); at += ItsTable.ENTRY) {
            if (!read(ItsTable.address(table) + at)) {
                return Optional.of(TableFault.NO_MEMORY);
            }
            long value = entry.getLong(0);
            if (!VALID.isSet(value)) {
                return Optional.empty();
            }
            Optional<TableFault> fault = restoreCollection((int) COLLECTION.of(value), TARGET.of(value));
            if (fault.isPresent()) {
                return fault;
            }
        }
        return Optional.empty();
    }

    private Optional<TableFault> restoreCollection(int collection, long target) {
        boolean exists = target == NO_TARGET || lpis.index((int) target).isPresent();
        boolean fits = ItsTable.entry(service.read(EmulatedIts.BASER_COLLECTIONS), collection, lpis.ram())
                .isPresent();
        if (!exists) {
            return Optional.of(TableFault.CONTRADICTION);
        }
        if (tables.hasCollection(collection)) {
            return Optional.of(TableFault.EXISTS);
        }
        if (!fits) {
            return Optional.of(TableFault.CONTRADICTION);
        }
        if (target == NO_TARGET) {
            tables.nameCollection(collection);
        } else {
            tables.mapCollection(collection, (int) target);
        }
        return Optional.empty();
    }

    private Optional<TableFault> restoreDevices() {
        long table = service.read(EmulatedIts.BASER_DEVICES);
        if (!VALID.isSet(table)) {
            return Optional.empty();
        }
        if ((table & ItsTable.INDIRECT) == 0) {
            return restoreDevices(ItsTable.address(table), ItsTable.size(table), 0)
                    .fault();
        }
        int pages = ItsTable.size(table) / Long.BYTES;
        for (int page = 0; page < pages; page++) {
            if (!read(ItsTable.address(table) + (long) page * Long.BYTES)) {
                return Optional.of(TableFault.NO_MEMORY);
            }
            long second = entry.getLong(0);
            if (VALID.isSet(second)) {
                int entries = ItsTable.PAGE / ItsTable.ENTRY;
                Scan scan = restoreDevices(second & ItsTable.LEVEL_2, ItsTable.PAGE, page * entries);
                if (scan.over()) {
                    return scan.fault();
                }
            }
        }
        return Optional.empty();
    }

    /** @param over whether a fault or the last entry ended the scan */
    private record Scan(boolean over, Optional<TableFault> fault) {
        private static Scan failed(TableFault fault) {
            return new Scan(true, Optional.of(fault));
        }
    }

    private Scan restoreDevices(long table, int size, int first) {
        for (int at = 0; at < size; ) {
            if (!read(table + at)) {
                return Scan.failed(TableFault.NO_MEMORY);
            }
            long value = entry.getLong(0);
            long next = 1;
            if (VALID.isSet(value)) {
                next = NEXT_DEVICE.of(value);
                int device = first + at / ItsTable.ENTRY;
                if (ItsTable.entry(service.read(EmulatedIts.BASER_DEVICES), device, lpis.ram())
                        .isEmpty()) {
                    return Scan.failed(TableFault.CONTRADICTION);
                }
                Optional<TableFault> fault = restoreEvents(tables.addDevice(
                        device, (int) EVENT_BITS.of(value) + 1, EVENT_TABLE.of(value) << EVENT_TABLE_SHIFT));
                if (fault.isPresent()) {
                    return new Scan(true, fault);
                }
            }
            if (next == 0) {
                return new Scan(true, Optional.empty());
            }
            at += (int) next * ItsTable.ENTRY;
        }
        return new Scan(false, Optional.empty());
    }

    private Optional<TableFault> restoreEvents(ItsTables.Device device) {
        long events = 1L << device.eventBits();
        for (long event = 0; event < events; ) {
            if (!read(device.table() + event * ItsTable.ENTRY)) {
                return Optional.of(TableFault.NO_MEMORY);
            }
            long value = entry.getLong(0);
            long next = LPI.of(value) == 0 ? 1 : NEXT_EVENT.of(value);
            if (LPI.of(value) != 0) {
                Optional<TableFault> fault = restoreEvent(device, (int) event, value, event + next < events);
                if (fault.isPresent() || next == 0) {
                    return fault;
                }
            }
            event += next;
        }
        return Optional.empty();
    }

    private Optional<TableFault> restoreEvent(ItsTables.Device device, int event, long value, boolean nextIsInRange) {
        int collection = (int) COLLECTION.of(value);
        if (LPI.of(value) < InterruptId.FIRST_LPI
                || !nextIsInRange
                || !tables.hasCollection(collection)
                || !tables.takesEvent(device, event)) {
            return Optional.of(TableFault.CONTRADICTION);
        }
        return tables.mapEvent(device, event, (int) LPI.of(value), collection)
                ? Optional.empty()
                : Optional.of(TableFault.NO_MEMORY);
    }
}
