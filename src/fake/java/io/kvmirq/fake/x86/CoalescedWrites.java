/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.FakeIoEventFd;
import io.kvmirq.fake.kvm.VmInterrupts;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmCoalescedMmio;
import io.kvmirq.uapi.Uapi.KvmCoalescedMmioRing;
import io.kvmirq.uapi.Uapi.KvmCoalescedMmioZone;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;

/**
 * The coalesced MMIO zones of a VM, whose writes do not exit, and the ring that holds the writes for the VMM. Source:
 * virt/kvm/coalesced_mmio.c.
 *
 * <p>A real kernel maps one page with the ring into each vCPU's area. Here each vCPU has a copy of the page. At the
 * guest's next write to a zone, the VMM's changes to one copy are copied to the others.
 */
final class CoalescedWrites {
    private static final int PAGE = 4096;
    private static final int RING_AT = Uapi.KVM_COALESCED_MMIO_PAGE_OFFSET * PAGE;
    /** KVM_COALESCED_MMIO_MAX. One entry is always free. */
    private static final int ENTRIES = (PAGE - KvmCoalescedMmioRing.SIZE) / KvmCoalescedMmio.SIZE;

    /** NR_IOBUS_DEVS. */
    private static final int BUS_DEVICES = 1000;

    /** A range of a bus whose writes go to the ring. */
    private record Zone(boolean port, long address, long length) {
        boolean holds(long start, int size) {
            boolean wraps = Long.compareUnsigned(start + size, start) < 0;
            return size >= 0
                    && !wraps
                    && Long.compareUnsigned(start, address) >= 0
                    && Long.compareUnsigned(start + size, address + length) <= 0;
        }
    }

    private final VmInterrupts vm;
    private final ToIntFunction<Boolean> devices;
    private final Host host;
    private final List<Zone> zones = new ArrayList<>(0);
    /** The ring's copy in each vCPU's mmap area. */
    private final List<ByteBuffer> copies = new ArrayList<>(1);

    private int first;
    private int last;

    /** @param devices the number of the kernel's devices on the bus of ports, or of memory */
    CoalescedWrites(VmInterrupts vm, ToIntFunction<Boolean> devices) {
        this.vm = vm;
        this.devices = devices;
        this.host = vm.host();
    }

    /** @param shared the mmap area of a new vCPU */
    void addVcpu(ByteBuffer shared) {
        ByteBuffer copy = shared.slice(RING_AT, PAGE).order(ByteOrder.nativeOrder());
        if (!copies.isEmpty()) {
            refresh();
            copy.put(0, copies.get(0), 0, PAGE);
        }
        copies.add(copy);
    }

    // Zones

    int add(ByteBuffer zone) {
        if (!isBus(zone)) {
            return host.refuse(SetupAnswer.COALESCED_BUS);
        }
        boolean port = zone.getInt(KvmCoalescedMmioZone.PIO) == 1;
        long others = zones.stream().filter(other -> other.port == port).count();
        if (others + devices.applyAsInt(port) >= BUS_DEVICES) {
            return host.refuse(SetupAnswer.COALESCED_FULL);
        }
        zones.add(new Zone(
                port,
                zone.getLong(KvmCoalescedMmioZone.ADDR),
                Integer.toUnsignedLong(zone.getInt(KvmCoalescedMmioZone.LENGTH))));
        return 0;
    }

    private static boolean isBus(ByteBuffer zone) {
        return Integer.compareUnsigned(zone.getInt(KvmCoalescedMmioZone.PIO), 1) <= 0;
    }

    int remove(ByteBuffer zone) {
        if (!isBus(zone)) {
            return host.refuse(SetupAnswer.COALESCED_BUS);
        }
        host.note(SetupAnswer.COALESCED_GONE);
        boolean port = zone.getInt(KvmCoalescedMmioZone.PIO) == 1;
        long address = zone.getLong(KvmCoalescedMmioZone.ADDR);
        int length = zone.getInt(KvmCoalescedMmioZone.LENGTH);
        zones.removeIf(other -> other.port == port && other.holds(address, length));
        return 0;
    }

    private boolean holds(boolean port, long address, int size) {
        for (int i = 0; i < zones.size(); i++) {
            if (zones.get(i).port == port && zones.get(i).holds(address, size)) {
                return true;
            }
        }
        return false;
    }

    // The ring

    /**
     * Puts a write into the ring; false if no zone matches or the ring is full. NotModelledException if an ioeventfd
     * could match.
     */
    boolean take(boolean port, long address, int size, long value) {
        if (zones.isEmpty() || !holds(port, address, size)) {
            return false;
        }
        if (vm.hasIoEventFd(port ? FakeIoEventFd.Bus.PORT : FakeIoEventFd.Bus.MEMORY, address, size, value)) {
            throw new NotModelledException("a guest's write to an ioeventfd in a zone of coalesced writes");
        }
        refresh();
        if (isFull()) {
            host.note(SetupAnswer.COALESCED_EXITS);
            return false;
        }
        host.note(SetupAnswer.COALESCED_WAITS);
        int at = KvmCoalescedMmioRing.SIZE + last * KvmCoalescedMmio.SIZE;
        last = (last + 1) % ENTRIES;
        for (ByteBuffer copy : copies) {
            copy.putLong(at + KvmCoalescedMmio.PHYS_ADDR, address)
                    .putInt(at + KvmCoalescedMmio.LEN, size)
                    .putInt(at + KvmCoalescedMmio.PIO, port ? 1 : 0);
            for (int i = 0; i < size; i++) {
                copy.put(at + KvmCoalescedMmio.DATA + i, (byte) (value >>> Byte.SIZE * i));
            }
            copy.putInt(KvmCoalescedMmioRing.LAST, last);
        }
        return true;
    }

    /** Whether the ring is full. Before 6.12, a ring that wraps is full earlier: 2^32 is no multiple of its size. */
    private boolean isFull() {
        if (Integer.compareUnsigned(last, ENTRIES) >= 0) {
            return true;
        }
        if (host.build().isSince(6, 12)) {
            return (last + 1) % ENTRIES == first;
        }
        host.note(SetupAnswer.COALESCED_EARLY_BEFORE);
        return Integer.remainderUnsigned(first - last - 1, ENTRIES) == 0;
    }

    /** Copies the VMM's changes of one copy to the others. */
    private void refresh() {
        int nextFirst = first;
        int nextLast = last;
        for (ByteBuffer copy : copies) {
            int ofCopy = copy.getInt(KvmCoalescedMmioRing.FIRST);
            nextFirst = ofCopy == first ? nextFirst : ofCopy;
            int endOfCopy = copy.getInt(KvmCoalescedMmioRing.LAST);
            nextLast = endOfCopy == last ? nextLast : endOfCopy;
        }
        first = nextFirst;
        last = nextLast;
        for (ByteBuffer copy : copies) {
            copy.putInt(KvmCoalescedMmioRing.FIRST, first).putInt(KvmCoalescedMmioRing.LAST, last);
        }
    }
}
