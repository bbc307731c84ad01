/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * What a VMM sets for a VM beside its memory and interrupts: it is kept and checked as by the kernel. Source: {@code
 * kvm_arch_vm_ioctl()} in arch/x86/kvm/x86.c, virt/kvm/coalesced_mmio.c.
 */
final class VmSettings {
    private static final int LEAST_MMU_PAGES = 64;
    /** NR_IOBUS_DEVS. */
    private static final int BUS_DEVICES = 1000;

    private static final int PIC_PORTS = 3;

    private static final int FILTER_DENIES = 1;
    private static final int RANGES = 16;
    private static final int RANGE = 24;
    private static final int RANGE_ACCESSES = 3;
    /** KVM_MSR_FILTER_MAX_BITMAP_SIZE. */
    private static final int BITMAP = 0x600;

    /** A part of a bus whose writes wait in a ring. */
    private record Zone(boolean port, long address, long length) {
        boolean holds(long start, int size) {
            boolean wraps = Long.compareUnsigned(start + size, start) < 0;
            return size >= 0
                    && !wraps
                    && Long.compareUnsigned(start, address) >= 0
                    && Long.compareUnsigned(start + size, address + length) <= 0;
        }
    }

    private final X86Vm vm;
    private final Host host;
    private final List<Zone> zones = new ArrayList<>(0);
    private boolean filtered;
    /** The TSC of vCPUs to come. */
    private int tscRate = TscRate.OF_HOST;

    VmSettings(X86Vm vm) {
        this.vm = vm;
        this.host = vm.host();
    }

    /** Before a run. */
    void checkModelled() {
        if (filtered) {
            throw new NotModelledException("a guest whose MSRs are filtered");
        }
    }

    int setMmuPages(long pages) {
        return Long.compareUnsigned(pages, LEAST_MMU_PAGES) < 0 ? host.refuse(SetupAnswer.MMU_PAGES_FEW) : 0;
    }

    // The TSC of vCPUs to come

    int tscRate() {
        return tscRate;
    }

    int setTscRate(long rate, boolean hasVcpus) {
        if (hasVcpus && !host.build().isSince(6, 17)) {
            throw new NotModelledException("KVM_SET_TSC_KHZ of a VM with vCPUs, before 6.17");
        }
        if (hasVcpus) {
            return host.refuse(SetupAnswer.TSC_OF_VM);
        }
        tscRate = (int) rate == 0 ? TscRate.OF_HOST : (int) rate;
        return 0;
    }

    // Coalesced writes

    int addZone(ByteBuffer zone) {
        if (!isBus(zone)) {
            return host.refuse(SetupAnswer.COALESCED_BUS);
        }
        boolean port = zone.getInt(Uapi.KvmCoalescedMmioZone.PIO) == 1;
        long others = zones.stream().filter(other -> other.port == port).count();
        if (others + chips(port) >= BUS_DEVICES) {
            return host.refuse(SetupAnswer.COALESCED_FULL);
        }
        zones.add(new Zone(
                port,
                zone.getLong(Uapi.KvmCoalescedMmioZone.ADDR),
                Integer.toUnsignedLong(zone.getInt(Uapi.KvmCoalescedMmioZone.LENGTH))));
        return 0;
    }

    /** Devices of the kernel on a bus. */
    private int chips(boolean port) {
        int ofTimer = (vm.hasPit() ? 1 : 0) + (vm.hasSpeaker() ? 1 : 0);
        boolean full = vm.irqchip() == X86Vm.Irqchip.FULL;
        if (port) {
            return ofTimer + (full ? PIC_PORTS : 0);
        }
        return full ? 1 : 0;
    }

    private static boolean isBus(ByteBuffer zone) {
        return Integer.compareUnsigned(zone.getInt(Uapi.KvmCoalescedMmioZone.PIO), 1) <= 0;
    }

    int removeZones(ByteBuffer zone) {
        if (!isBus(zone)) {
            return host.refuse(SetupAnswer.COALESCED_BUS);
        }
        host.note(SetupAnswer.COALESCED_GONE);
        boolean port = zone.getInt(Uapi.KvmCoalescedMmioZone.PIO) == 1;
        long address = zone.getLong(Uapi.KvmCoalescedMmioZone.ADDR);
        int length = zone.getInt(Uapi.KvmCoalescedMmioZone.LENGTH);
        zones.removeIf(other -> other.port == port && other.holds(address, length));
        return 0;
    }

    /** Before a guest's write leaves to the VMM. */
    void checkNotCoalesced(boolean port, long address, int size) {
        for (int i = 0; i < zones.size(); i++) {
            if (zones.get(i).port == port && zones.get(i).holds(address, size)) {
                throw new NotModelledException("a guest's write that KVM keeps in the ring of coalesced writes");
            }
        }
    }

    // MSR filter

    int setFilter(ByteBuffer filter) {
        int flags = filter.getInt(Uapi.KvmMsrFilter.FLAGS);
        if ((flags & ~FILTER_DENIES) != 0) {
            return host.refuse(SetupAnswer.FILTER_FLAGS);
        }
        boolean any = false;
        for (int range = 0; range < RANGES; range++) {
            any |= filter.getInt(at(range) + Integer.BYTES) != 0;
        }
        if (!any && flags == FILTER_DENIES) {
            return host.refuse(SetupAnswer.FILTER_EMPTY);
        }
        for (int range = 0; range < RANGES; range++) {
            int refused = refusesRange(filter, at(range));
            if (refused != 0) {
                return refused;
            }
        }
        filtered = any;
        return 0;
    }

    private static int at(int range) {
        return Uapi.KvmMsrFilter.RANGES + range * RANGE;
    }

    private int refusesRange(ByteBuffer filter, int at) {
        int count = filter.getInt(at + Integer.BYTES);
        int accesses = filter.getInt(at);
        if (count == 0) {
            return 0;
        }
        if (accesses == 0 || (accesses & ~RANGE_ACCESSES) != 0) {
            return host.refuse(SetupAnswer.FILTER_FLAGS);
        }
        long bytes = (Integer.toUnsignedLong(count) + Long.SIZE - 1) / Long.SIZE * Long.BYTES;
        if (bytes > BITMAP) {
            return host.refuse(SetupAnswer.FILTER_LONG);
        }
        return host.copied(
                filter.getLong(at + Uapi.KvmMsrFilter.RANGES_BITMAP - Uapi.KvmMsrFilter.RANGES),
                (int) bytes,
                bitmap -> 0);
    }
}
