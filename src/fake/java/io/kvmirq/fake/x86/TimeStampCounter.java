/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Host;

/**
 * The TSC of a vCPU: the host's TSC plus an offset. On kvm_pvm guests read the host's TSC, whatever the VMM writes.
 * Source: {@code kvm_read_l1_tsc()} in arch/x86/kvm/x86.c, {@code start_sw_tscdeadline()} in lapic.c.
 */
final class TimeStampCounter {
    private static final long NANOS_OF_KHZ = 1_000_000;

    private final Host host;
    private final FakeTime time;
    private final boolean ofHost;
    private final SharedTsc shared;
    private final TscRate rate;
    private long offset;

    TimeStampCounter(Host host, VmSettings settings) {
        this.host = host;
        this.time = host.time();
        this.ofHost = host.build().pvm();
        this.shared = settings.tsc();
        this.rate = new TscRate(settings.tscRate());
    }

    /** Begins to count as the vCPU is created. */
    void begin() {
        if (!ofHost) {
            offset = shared.begin(rate.get());
        }
    }

    TscRate rate() {
        return rate;
    }

    long offset() {
        return offset;
    }

    void setOffset(long next) {
        if (ofHost) {
            host.note(SetupAnswer.TSC_OF_HOST);
        } else {
            shared.setOffset(next, rate.get());
            offset = next;
        }
    }

    long read() {
        return TscRate.ofHost(time) + offset;
    }

    void write(long value) {
        if (ofHost) {
            host.note(SetupAnswer.TSC_OF_HOST);
        } else {
            offset = shared.write(value, rate.get());
        }
    }

    /** @throws NotModelledException if the rate is not the host's */
    void checkModelled() {
        if (rate.get() != TscRate.OF_HOST) {
            throw new NotModelledException("a deadline of a TSC whose rate is not the host's");
        }
    }

    /** The nanoseconds to a value, with the kernel's multiplication modulo 2^64; 0 if it has passed. */
    long nanosUntil(long value) {
        long now = read();
        return Long.compareUnsigned(value, now) > 0
                ? Long.divideUnsigned((value - now) * NANOS_OF_KHZ, TscRate.OF_HOST)
                : 0;
    }
}
