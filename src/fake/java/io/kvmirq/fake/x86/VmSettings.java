/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * Settings of a VM besides memory and interrupts, checked and stored as in the kernel. Source: {@code
 * kvm_arch_vm_ioctl()} in arch/x86/kvm/x86.c.
 */
final class VmSettings {
    private static final int LEAST_MMU_PAGES = 64;

    private static final int FILTER_DENIES = 1;
    private static final int RANGES = 16;
    private static final int RANGE = 24;
    private static final int RANGE_ACCESSES = 3;
    /** KVM_MSR_FILTER_MAX_BITMAP_SIZE. */
    private static final int BITMAP = 0x600;

    private final Host host;
    private boolean filtered;
    /** The TSC rate of future vCPUs. */
    private int tscRate = TscRate.OF_HOST;

    private final SharedTsc tsc;

    private long busCycle = 1;

    VmSettings(Host host) {
        this.host = host;
        this.tsc = new SharedTsc(host);
    }

    /** Checks the settings before a run. */
    void checkModelled() {
        if (filtered) {
            throw new NotModelledException("a guest whose MSRs are filtered");
        }
    }

    /** The nanoseconds of an APIC bus cycle, the unit of LAPIC timers. */
    long busCycle() {
        return busCycle;
    }

    void setBusCycle(long nanos) {
        busCycle = nanos;
    }

    int setMmuPages(long pages) {
        return Long.compareUnsigned(pages, LEAST_MMU_PAGES) < 0 ? host.refuse(SetupAnswer.MMU_PAGES_FEW) : 0;
    }

    // The TSCs

    SharedTsc tsc() {
        return tsc;
    }

    /** The TSC rate of future vCPUs, in kHz. */
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
