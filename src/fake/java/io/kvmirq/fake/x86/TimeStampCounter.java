/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.KernelOfFile;
import java.util.Optional;

/**
 * The TSC of a vCPU: the host's TSC plus an offset. On kvm_pvm guests read the host's TSC, whatever the VMM writes. The
 * processor cannot scale it. Source: {@code kvm_read_l1_tsc()}, {@code
 * kvm_synchronize_tsc()} and {@code kvm_set_tsc_khz()} in arch/x86/kvm/x86.c, {@code
 * start_sw_tscdeadline()} in lapic.c.
 */
final class TimeStampCounter {
    /** In kHz, as all rates here. */
    static final int RATE_OF_HOST = 2_000_000;
    /** The host's rate minus a tolerance of 250 parts per million. */
    private static final int LEAST_RATE = RATE_OF_HOST - RATE_OF_HOST / 4000;

    private static final long NANOS_OF_KHZ = 1_000_000;

    private final KernelOfFile host;
    private final VmSettings settings;
    private int rate;
    private long offset;

    TimeStampCounter(KernelOfFile host, VmSettings settings) {
        this.host = host;
        this.settings = settings;
        this.rate = settings.tscRate();
    }

    static long ofHost(FakeTime time) {
        return time.now() * (RATE_OF_HOST / NANOS_OF_KHZ);
    }

    /** Begins to count as the vCPU is created. */
    void begin() {
        offset = host.build().pvm() ? 0 : settings.tscOffset();
    }

    int rate() {
        return rate;
    }

    /** KVM_SET_TSC_KHZ; the rule that refuses it, or empty. A refused rate is stored too. */
    Optional<Answer> setRate(int wanted) {
        rate = wanted == 0 ? RATE_OF_HOST : wanted;
        return Integer.compareUnsigned(rate, LEAST_RATE) < 0 ? Optional.of(SetupAnswer.TSC_SLOWER) : Optional.empty();
    }

    long offset() {
        return offset;
    }

    void setOffset(long next) {
        if (host.build().pvm()) {
            host.note(SetupAnswer.TSC_OF_HOST);
        } else {
            offset = next;
        }
    }

    long read() {
        return ofHost(host.time()) + offset;
    }

    /** A write of 0 joins the TSC of the VM, whose offset is that of the last other write. */
    void write(long value) {
        if (value != 0 && !host.build().pvm()) {
            settings.setTscOffset(value - ofHost(host.time()));
        }
        setOffset(settings.tscOffset());
    }

    /** @throws NotModelledException if the rate is not the host's */
    void checkModelled() {
        if (rate != RATE_OF_HOST) {
            throw new NotModelledException("a deadline of a TSC whose rate is not the host's");
        }
    }

    /** The nanoseconds to a value, with the kernel's multiplication modulo 2^64; 0 if it has passed. */
    long nanosUntil(long value) {
        long now = read();
        return Long.compareUnsigned(value, now) > 0
                ? Long.divideUnsigned((value - now) * NANOS_OF_KHZ, RATE_OF_HOST)
                : 0;
    }
}
