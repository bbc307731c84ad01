/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import java.util.OptionalLong;

/**
 * The TSCs of a VM and the frequency of its LAPIC timers. Source: {@code kvm_arch_vm_ioctl()} in arch/x86/kvm/x86.c.
 */
final class VmSettings {
    private final KernelOfFile host;
    /** The TSC rate of future vCPUs. */
    private int tscRate = TimeStampCounter.RATE_OF_HOST;

    /** The TSC offset of the next vCPU; empty before the first vCPU, whose TSC begins at 0. */
    private OptionalLong tscOffset = OptionalLong.empty();

    private long busCycle = 1;

    VmSettings(KernelOfFile host) {
        this.host = host;
    }

    /** The nanoseconds of an APIC bus cycle, the unit of LAPIC timers. */
    long busCycle() {
        return busCycle;
    }

    void setBusCycle(long nanos) {
        busCycle = nanos;
    }

    // The TSCs

    long tscOffset() {
        if (tscOffset.isEmpty()) {
            tscOffset = OptionalLong.of(-TimeStampCounter.ofHost(host.time()));
        }
        return tscOffset.getAsLong();
    }

    void setTscOffset(long next) {
        tscOffset = OptionalLong.of(next);
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
        tscRate = (int) rate == 0 ? TimeStampCounter.RATE_OF_HOST : (int) rate;
        return 0;
    }
}
