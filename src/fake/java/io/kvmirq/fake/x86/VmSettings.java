/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Host;

/**
 * The TSCs of a VM and the frequency of its LAPIC timers. Source: {@code kvm_arch_vm_ioctl()} in arch/x86/kvm/x86.c.
 */
final class VmSettings {
    private final Host host;
    /** The TSC rate of future vCPUs. */
    private int tscRate = TscRate.OF_HOST;

    private final SharedTsc tsc;

    private long busCycle = 1;

    VmSettings(Host host) {
        this.host = host;
        this.tsc = new SharedTsc(host);
    }

    /** The nanoseconds of an APIC bus cycle, the unit of LAPIC timers. */
    long busCycle() {
        return busCycle;
    }

    void setBusCycle(long nanos) {
        busCycle = nanos;
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
}
