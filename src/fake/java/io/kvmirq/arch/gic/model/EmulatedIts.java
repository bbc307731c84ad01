/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.ItsCommand;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * An interrupt translation service (ITS) as KVM emulates it. An ITS has registers, and reads commands from a ring in
 * guest memory. The ITS translates the device id and event id of an MSI message to an LPI. Not thread-safe.
 *
 * <p>Source: GIC architecture specification, "The ITS"; arch/arm64/kvm/vgic/vgic-its.c.
 */
public final class EmulatedIts {
    /** The size in bytes: 64 KiB of control registers, then 64 KiB with the register that devices write to. */
    public static final long SIZE = 0x2_0000;

    /** GITS_CTLR, 32 bits. */
    public static final int CTLR = 0;

    /** GITS_IIDR, 32 bits. */
    public static final int IIDR = 4;

    /** GITS_TYPER, 64 bits. */
    public static final int TYPER = 8;

    /** GITS_CBASER, 64 bits: address and size of the command ring. */
    public static final int CBASER = 0x80;

    /** GITS_CWRITER, 64 bits: the offset in the ring after the last command. */
    public static final int CWRITER = 0x88;

    /** GITS_CREADR, 64 bits: the offset in the ring of the next command to read. */
    public static final int CREADR = 0x90;

    /** GITS_BASER0, 64 bits: address and size of the device table. */
    public static final int BASER_DEVICES = 0x100;

    /** GITS_BASER1, 64 bits: address and size of the collection table. */
    public static final int BASER_COLLECTIONS = 0x108;

    /** The valid bit of GITS_CBASER and of each GITS_BASER. */
    public static final long VALID = 1L << 63;

    /** GITS_CTLR.Enabled. */
    public static final int ENABLED = 1;

    /** GITS_CTLR.Quiescent: the ITS has handled all commands. */
    private static final long QUIESCENT = 1L << 31;

    private static final long RING_ADDRESS = 0xf_ffff_ffff_f000L;
    private static final long RING_RESERVED = 0xf000;
    private static final long OFFSET = 0xf_ffe0;
    private static final int PAGE_SHIFT = 12;

    /** The fixed GITS_TYPER fields: physical LPIs, 8-byte entries, 16 bits of event id and of device id. */
    private static final long KIND =
            1 | (ItsTable.ENTRY - 1) << 4 | (ItsTable.ID_BITS - 1) << 8 | (ItsTable.ID_BITS - 1) << 13;
    /** GITS_IIDR: KVM's product id, implementer Arm, version 0 of the tables. */
    private static final long MAKER = 0x4b00_043bL;

    private final Lpis lpis;
    private final ItsTables tables;
    private boolean enabled;
    private long ring;
    private long next;
    private long last;
    private long devices = ItsTable.initial(ItsTable.TYPE_DEVICE);
    private long collections = ItsTable.initial(ItsTable.TYPE_COLLECTION);

    /** Creates a disabled ITS, and resets GICR_PROPBASER: a VMM restores this register after this call. */
    public EmulatedIts(Lpis lpis) {
        this.lpis = lpis;
        this.tables = new ItsTables(lpis);
        lpis.addIts();
    }

    // Registers

    /** Reads the register at an offset. The GITS_BASER registers of unused tables, up to offset 0x138, read as 0. */
    public long read(int offset) {
        return switch (offset) {
            case CTLR -> (next == last ? QUIESCENT : 0) | (enabled ? ENABLED : 0);
            case IIDR -> MAKER;
            case TYPER -> KIND;
            case CBASER -> ring;
            case CWRITER -> last;
            case CREADR -> next;
            case BASER_DEVICES -> devices;
            case BASER_COLLECTIONS -> collections;
            default -> 0;
        };
    }

    /** A reason why KVM refuses a register write by a VMM that restores an ITS. A guest's write never fails. */
    public enum Refusal {
        /** GITS_IIDR has a table version that KVM does not support: EINVAL. */
        VERSION,
        /** GITS_CREADR cannot change while the ITS is enabled: EBUSY. */
        ENABLED,
        /** GITS_CREADR is beyond the command ring: EINVAL. */
        BEYOND_RING
    }

    /** Writes a register for a VMM, and handles commands in the ring. Returns the reason if KVM refuses the write. */
    public Optional<Refusal> write(int offset, long value) {
        switch (offset) {
            case CTLR -> control((value & ENABLED) != 0);
            case IIDR -> {
                return (value >>> 12 & 0xf) == 0 ? Optional.empty() : Optional.of(Refusal.VERSION);
            }
            case CBASER -> setRing(value);
            case CWRITER -> {
                if ((value & OFFSET) < ringSize()) {
                    last = value & OFFSET;
                    handle();
                }
            }
            case CREADR -> {
                return setNext(value & OFFSET);
            }
            case BASER_DEVICES -> setDevices(value);
            case BASER_COLLECTIONS -> setCollections(value);
            default -> {}
        }
        return Optional.empty();
    }

    private void control(boolean enable) {
        boolean ready = (devices & VALID) != 0 && (collections & VALID) != 0 && (ring & VALID) != 0;
        if (enable && !enabled && !ready) {
            return;
        }
        enabled = enable;
        handle();
    }

    private void setRing(long value) {
        if (!enabled) {
            ring = Baser.sanitised(value, Baser.Attributes.OF_ITS) & ~RING_RESERVED;
            next = 0;
            last = 0;
        }
    }

    private long ringSize() {
        return (ring & 0xff) + 1 << PAGE_SHIFT;
    }

    private Optional<Refusal> setNext(long to) {
        if (enabled) {
            return Optional.of(Refusal.ENABLED);
        }
        if (to >= ringSize()) {
            return Optional.of(Refusal.BEYOND_RING);
        }
        next = to;
        return Optional.empty();
    }

    private void setDevices(long value) {
        if (!enabled) {
            devices = ItsTable.sanitised(value, ItsTable.TYPE_DEVICE);
            if ((devices & VALID) == 0) {
                tables.unmapDevices();
            }
        }
    }

    private void setCollections(long value) {
        if (!enabled) {
            collections = ItsTable.sanitised(value, ItsTable.TYPE_COLLECTION);
            if ((collections & VALID) == 0) {
                tables.unmapCollections();
            }
        }
    }

    /** KVM_DEV_ARM_ITS_CTRL_RESET: disables the ITS, and empties its tables and its ring. */
    public void reset() {
        enabled = false;
        devices &= ~VALID;
        collections &= ~VALID;
        ring = 0;
        next = 0;
        last = 0;
        tables.unmapDevices();
        tables.unmapCollections();
    }

    // Saving

    /** A reason why the ITS cannot save its tables to guest memory, or restore them. */
    public enum TableFault {
        /** The address of a table is not in guest memory: EFAULT. */
        NO_MEMORY,
        /** A table entry contradicts another entry, or refers to a missing object: EINVAL. */
        CONTRADICTION,
        /** A restored collection exists already: EEXIST. */
        EXISTS,
        /** An LPI is mapped to a vLPI of GICv4.0, whose state KVM cannot read: the save fails with EACCES. */
        VLPI,
        /** A save finds an event whose collection the guest has unmapped. Then Linux reads through a null pointer. */
        LOST_COLLECTION
    }

    /** KVM_DEV_ARM_ITS_SAVE_TABLES: writes devices, events and collections to the guest's tables. */
    public Optional<TableFault> save() {
        return new ItsImage(this, tables, lpis).save();
    }

    /** KVM_DEV_ARM_ITS_RESTORE_TABLES; restore registers before. A fault unmaps all mappings of its table. */
    public Optional<TableFault> restore() {
        return new ItsImage(this, tables, lpis).restore();
    }

    // Messages

    /** The outcome of an MSI message that {@link #message} handles. */
    public enum Outcome {
        PENDING,
        /** The guest has mapped the device's event to no LPI, so KVM drops the message. */
        UNMAPPED,
        /** The ITS is disabled, or the target vCPU has disabled its LPIs: KVM returns EBUSY. */
        DISABLED
    }

    /** Handles an MSI: translates the device's event to an LPI, and makes the LPI pending. */
    public Outcome message(int device, int event) {
        OptionalInt lpi = enabled ? tables.lpi(device, event) : OptionalInt.empty();
        if (lpi.isEmpty()) {
            return enabled ? Outcome.UNMAPPED : Outcome.DISABLED;
        }
        if (!takesMessages(device, event)) {
            return Outcome.DISABLED;
        }
        lpis.receiveMessage(lpi.getAsInt());
        return Outcome.PENDING;
    }

    /** Whether the vCPU of the event's collection has enabled LPIs, even if MOVALL moved the LPI to another vCPU. */
    private boolean takesMessages(int device, int event) {
        OptionalInt vcpu = tables.vcpu(device, event);
        return vcpu.isPresent() && lpis.isEnabled(vcpu.getAsInt());
    }

    /** Returns the LPI that a message would make pending; empty if the ITS would drop the message. */
    public OptionalInt lpi(int device, int event) {
        OptionalInt lpi = enabled ? tables.lpi(device, event) : OptionalInt.empty();
        return lpi.isPresent() && takesMessages(device, event) ? lpi : OptionalInt.empty();
    }

    /** The LPI of an event, whether messages reach it or not; empty if the guest has not mapped the event. */
    OptionalInt lpiOfEvent(int device, int event) {
        return tables.event(device, event)
                .map(mapped -> OptionalInt.of(mapped.lpi()))
                .orElse(OptionalInt.empty());
    }

    // Commands

    private void handle() {
        ByteBuffer command = ByteBuffer.allocate(ItsCommand.SIZE).order(ByteOrder.LITTLE_ENDIAN);
        while (enabled && next != last) {
            if (lpis.ram().read((ring & RING_ADDRESS) + next, command.clear())) {
                long[] words = new long[ItsCommand.SIZE / Long.BYTES];
                command.clear().asLongBuffer().get(words);
                ItsCommand.decode(words).ifPresent(known -> handle(known, words));
            }
            next = (next + ItsCommand.SIZE) % ringSize();
        }
    }

    private static int get(long[] words, BitField field) {
        return (int) field.of(words[field.word()]);
    }

    /** Handles a command. Refused commands are not reported to the guest. */
    private void handle(ItsCommand command, long[] words) {
        int device = get(words, ItsCommand.DEVICE);
        int event = get(words, ItsCommand.EVENT);
        int collection = get(words, ItsCommand.COLLECTION);
        switch (command) {
            case MAPD -> mapDevice(device, words);
            case MAPC -> mapCollection(collection, words);
            case MAPTI -> mapEvent(device, event, get(words, ItsCommand.LPI), collection);
            case MAPI -> mapEvent(device, event, event, collection);
            case MOVI -> tables.moveEvent(device, event, collection);
            case DISCARD -> tables.discardEvent(device, event);
            case CLEAR -> tables.clear(device, event);
            case INV -> tables.invalidate(device, event);
            case INVALL -> tables.invalidateAll(collection);
            case MOVALL -> moveAll(get(words, ItsCommand.TARGET), get(words, ItsCommand.SECOND_TARGET));
            case INT -> message(device, event);
            case SYNC -> {}
        }
    }

    private void mapDevice(int device, long[] words) {
        int eventBits = get(words, ItsCommand.EVENT_BITS) + 1;
        boolean maps = get(words, ItsCommand.VALID) != 0;
        OptionalLong entry = ItsTable.entry(devices, device, lpis.ram());
        if (entry.isEmpty() || maps && eventBits > ItsTable.ID_BITS) {
            return;
        }
        if (maps) {
            tables.mapDevice(device, eventBits, ItsCommand.EVENT_TABLE.of(words[ItsCommand.EVENT_TABLE.word()]) << 8);
        } else {
            tables.unmapDevice(device);
            lpis.ram().write(entry.getAsLong(), ByteBuffer.allocate(ItsTable.ENTRY));
        }
    }

    private void mapCollection(int collection, long[] words) {
        int target = get(words, ItsCommand.TARGET);
        if (lpis.index(target).isEmpty()) {
            return;
        }
        if (get(words, ItsCommand.VALID) == 0) {
            tables.unmapCollection(collection);
        } else if (isCollection(collection)) {
            tables.mapCollection(collection, target);
        }
    }

    private boolean isCollection(int collection) {
        return tables.hasCollection(collection)
                || ItsTable.entry(collections, collection, lpis.ram()).isPresent();
    }

    private void mapEvent(int device, int event, int lpi, int collection) {
        if (tables.takesEvent(device, event) && lpis.isInRange(lpi) && isCollection(collection)) {
            tables.mapEvent(device, event, lpi, collection);
        }
    }

    private void moveAll(int from, int to) {
        OptionalInt first = lpis.index(from);
        OptionalInt second = lpis.index(to);
        if (first.isPresent() && second.isPresent() && from != to) {
            lpis.targetAll(first.getAsInt(), second.getAsInt());
        }
    }
}
