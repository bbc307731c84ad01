/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Host;

/**
 * The common offset of a VM's TSCs, on a host with a stable TSC. A VMM that restores a guest writes the TSC of each
 * vCPU at a different time. The kernel treats nearly equal values as equal. Source: {@code kvm_synchronize_tsc()} and
 * {@code kvm_arch_tsc_set_attr()} in arch/x86/kvm/x86.c.
 */
final class SharedTsc {
    private static final long MILLION = 1_000_000;

    private final Host host;
    private long offset;
    /** The rate of the vCPU whose TSC was written last; 0 before the first vCPU. */
    private int rate;
    /** The value that was written last, even if it was 0. */
    private long written;

    private long writtenAt;
    private boolean writtenByVmm;

    SharedTsc(Host host) {
        this.host = host;
    }

    /** The offset of a new vCPU. The TSC of a VM's first vCPU begins at 0. */
    long begin(int ofVcpu) {
        return synchronize(0, true, ofVcpu);
    }

    /** The offset of a vCPU after the VMM has written its TSC. */
    long write(long value, int ofVcpu) {
        boolean first = !writtenByVmm;
        writtenByVmm = true;
        boolean joins = value == 0;
        if (!joins && isNear(value, ofVcpu)) {
            if (first && !host.build().isSince(6, 7)) {
                host.note(SetupAnswer.TSC_FIRST_WRITE_BEFORE);
            }
            joins = !first || !host.build().isSince(6, 7);
        }
        return synchronize(value, joins, ofVcpu);
    }

    /** Whether a value is within a second of the last written value plus the time since then. */
    private boolean isNear(long value, int ofVcpu) {
        long kilohertz = Integer.toUnsignedLong(ofVcpu);
        long passed = host.time().now() - writtenAt;
        long expected = written + passed / MILLION * kilohertz + passed % MILLION * kilohertz / MILLION;
        long second = kilohertz * 1000;
        return Long.compareUnsigned(value, expected + second) < 0 && Long.compareUnsigned(value + second, expected) > 0;
    }

    private long synchronize(long value, boolean joins, int ofVcpu) {
        if (joins && ofVcpu == rate) {
            host.note(SetupAnswer.TSC_SHARED);
        } else {
            offset = value - TscRate.ofHost(host.time());
        }
        remember(value, ofVcpu);
        return offset;
    }

    private void remember(long value, int ofVcpu) {
        written = value;
        writtenAt = host.time().now();
        rate = ofVcpu;
    }

    /** KVM_VCPU_TSC_OFFSET. */
    void setOffset(long next, int ofVcpu) {
        writtenByVmm = true;
        offset = next;
        remember(TscRate.ofHost(host.time()) + next, ofVcpu);
    }
}
