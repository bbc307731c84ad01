/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Its;
import io.kvmirq.mirror.Event;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;

/**
 * Reads each forwarded MSI's LPI and vCPU from an arm64 guest's ITS tables, because KVM executes the guest's ITS
 * commands without the VMM. Only {@link #tell} reads the tables, so after a guest's MOVI, DISCARD or MAPTI, the mirror
 * predicts a wrong LPI or vCPU until the next {@code tell}.
 *
 * <p>During {@link #tell} no vCPU may run, and all device interrupts of the VM must be masked, because KVM decides at
 * the unmask whether to map an LPI to a vLPI, and with GICv4.0 cannot write the ITS tables to memory while a vLPI is
 * mapped. A VMM stops its vCPUs, masks all interrupts, calls {@link #tell} for each device, unmasks the interrupts, and
 * runs the vCPUs again. Not thread-safe.
 *
 * <p>KVM before November 2024 leaves a removed device's or event's entry in its table, so {@link #tell} clears entries
 * before KVM writes the tables.
 *
 * <p>Source: "ITS Table ABI REV0" in Documentation/virt/kvm/devices/arm-vgic-its.rst.
 */
@NotPromised
public final class ItsEvents {
    private static final long DEVICES = 0x100; // GITS_BASER0
    private static final long COLLECTIONS = 0x108; // GITS_BASER1
    private static final long VALID = 1L << 63;
    private static final long INDIRECT = 1L << 62;
    private static final long PAGE = 0x1_0000;
    private static final long PAGES = 0xff;
    private static final int ENTRY = Long.BYTES;
    private static final int ENTRIES = (int) PAGE / ENTRY;
    private static final long ADDRESS = 0xffff_ffff_0000L;
    private static final long EVENTS = 0xfff_ffff_ffffL;
    private static final long EVENT_BITS = 0x1f;
    private static final long ID = 0xffff;
    /** No vCPU has this id. */
    private static final long NONE = 0xffff_ffffL;

    private final Its its;
    private final long place;
    private final List<GuestMemory> memory;

    /**
     * Creates a reader of an ITS's tables. Pass all guest memory. Read-only memory is ignored, because {@link #tell}
     * clears entries at addresses that the guest chose.
     *
     * @throws IllegalArgumentException if {@link Its#setAddress} was not called
     */
    public ItsEvents(Its its, List<GuestMemory> memory) {
        this.its = Objects.requireNonNull(its, "its is null");
        this.memory = Objects.requireNonNull(memory, "memory is null").stream()
                .filter(region -> !region.isReadOnly())
                .toList();
        this.place = its.address()
                .orElseThrow(() -> new IllegalArgumentException(
                        "the ITS has no address, so no message reaches it: Its.setAddress comes first"));
    }

    /**
     * Reads the ITS events of a forwarding's messages and reports them to its {@link Forwarding#mirror}, so that {@link
     * ForwardedIrq#predicted} can use the LPI and the vCPU after the unmask. Messages to another ITS are skipped.
     *
     * @return empty on success, otherwise the reason why the tables cannot be read, as a sentence. After a failure,
     *     predictions are unchanged, but entries in the guest's tables may have been cleared. A table cannot be read if
     *     it is outside guest memory, in memory that Java cannot access (such as a BAR), or in memory that was not
     *     passed to the constructor
     * @throws io.kvmirq.KernelException EBUSY while a vCPU runs, EACCES while one of the VM's LPIs is mapped to a vLPI.
     *     The mirror then gets no event
     * @throws IllegalStateException if a forwarded interrupt is not masked
     */
    public Optional<String> tell(Forwarding forwarding) {
        Objects.requireNonNull(forwarding, "forwarding is null");
        synchronized (forwarding.delivery()) {
            List<ForwardedIrq> irqs = forwarding.irqs();
            irqs.stream().filter(irq -> !irq.isMasked()).findFirst().ifPresent(irq -> {
                throw new IllegalStateException(
                        irq.irq() + " is not masked, so KVM has already decided about its vLPI: mask all interrupts"
                                + " before reading the events");
            });
            List<MsiMessage> messages = irqs.stream()
                    .flatMap(irq -> irq.message().stream())
                    .filter(this::takes)
                    .toList();
            try {
                forwarding.mirror().apply(read(messages));
                return Optional.empty();
            } catch (UnreadableException e) {
                return Optional.of(String.valueOf(e.getMessage()));
            } catch (KernelException e) {
                if (e.errno().equals(Errno.EFAULT)) {
                    return Optional.of(String.valueOf(e.getMessage()));
                }
                throw e;
            }
        }
    }

    private List<Event> read(List<MsiMessage> messages) {
        messages.forEach(message -> device(message).ifPresent(this::clear));
        its.saveTables();
        messages.forEach(message -> event(message).ifPresent(this::clear));
        its.saveTables();
        Map<Long, Long> targets = targets();
        return Stream.concat(
                        Stream.of(new Event.ItsAdded(place)), messages.stream().map(message -> event(message, targets)))
                .toList();
    }

    private boolean takes(MsiMessage message) {
        return message.deviceId().isPresent()
                && message.equals(MsiMessage.toIts(place, message.deviceId().getAsInt(), message.data()));
    }

    /** Creates a message's event. Device DMA can change the tables at any time, so an entry can have any value. */
    private Event event(MsiMessage message, Map<Long, Long> targets) {
        int device = message.deviceId().getAsInt();
        OptionalLong at = event(message);
        long entry = at.isEmpty() ? 0 : long64(at.getAsLong());
        int lpi = (int) (entry >>> 16);
        long vcpu = targets.getOrDefault(entry & ID, NONE);
        return lpi < InterruptId.FIRST_LPI || vcpu > VcpuId.MAX
                ? new Event.EventUnmapped(place, device, message.data())
                : new Event.EventMapped(place, device, message.data(), lpi, new VcpuId((int) vcpu));
    }

    private static long address(long table) {
        return table & ADDRESS | (table >>> 12 & 0xf) << 48;
    }

    private static long size(long table) {
        return ((table & PAGES) + 1) * PAGE;
    }

    /** The address of a device's entry. Empty if the table has no entry for the device. */
    private OptionalLong device(MsiMessage message) {
        long table = its.readRegister(DEVICES);
        long id = Integer.toUnsignedLong(message.deviceId().getAsInt());
        long first = (table & INDIRECT) == 0 ? id : id / ENTRIES;
        if ((table & VALID) == 0 || first >= size(table) / ENTRY) {
            return OptionalLong.empty();
        }
        long at = address(table) + first * ENTRY;
        if ((table & INDIRECT) == 0) {
            return OptionalLong.of(at);
        }
        long second = long64(at);
        return (second & VALID) == 0
                ? OptionalLong.empty()
                : OptionalLong.of((second & (ADDRESS | 0xfL << 48)) + id % ENTRIES * ENTRY);
    }

    /** The address of an event's entry. Empty if the device is not mapped, or is mapped for fewer events. */
    private OptionalLong event(MsiMessage message) {
        OptionalLong at = device(message);
        long entry = at.isEmpty() ? 0 : long64(at.getAsLong());
        long event = Integer.toUnsignedLong(message.data());
        return (entry & VALID) == 0 || event >>> (entry & EVENT_BITS) + 1 != 0
                ? OptionalLong.empty()
                : OptionalLong.of(((entry >>> 5 & EVENTS) << 8) + event * ENTRY);
    }

    /** The vCPU of each collection. Entries are not sorted, and the first invalid one ends the table. */
    private Map<Long, Long> targets() {
        Map<Long, Long> targets = new HashMap<>();
        long table = its.readRegister(COLLECTIONS);
        long end = (table & VALID) == 0 ? 0 : size(table);
        for (long at = 0; at < end; at += ENTRY) {
            long entry = long64(address(table) + at);
            if ((entry & VALID) == 0) {
                break;
            }
            targets.putIfAbsent(entry & ID, entry >>> 16 & 0xffff_ffffL);
        }
        return targets;
    }

    /** Thrown if guest memory cannot be read or written at a table entry's address. */
    private static final class UnreadableException extends RuntimeException {
        private static final long serialVersionUID = 1;

        UnreadableException(long address, String why) {
            super("the tables of the ITS have an entry at 0x" + Long.toHexString(address) + ", " + why);
        }
    }

    private GuestMemory at(long address) {
        return memory.stream()
                .filter(region -> address - region.guestAddress() >= 0
                        && address - region.guestAddress() <= region.mapping().length() - ENTRY)
                .findFirst()
                .orElseThrow(() -> new UnreadableException(
                        address, "which is not in " + memory + ": pass all guest memory that the guest may write"));
    }

    private long long64(long address) {
        return long64(at(address), address);
    }

    private static long long64(GuestMemory region, long address) {
        try {
            return region.mapping().getLong(address - region.guestAddress());
        } catch (UnsupportedOperationException e) {
            throw new UnreadableException(
                    address, "in " + region + ", which Java cannot reach: a guest has its tables in its own memory");
        }
    }

    private void clear(long address) {
        GuestMemory region = at(address);
        if (long64(region, address) != 0) {
            region.mapping().put(address - region.guestAddress(), new byte[ENTRY]);
        }
    }
}
