/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kvm.WatchedVcpu;
import io.kvmirq.mirror.VcpuPhase;

/** The phase of a vCPU of {@link io.kvmirq.kvm}, for a mirror. */
record WatchedPhase(WatchedVcpu vcpu) implements VcpuPhase {
    @Override
    public long number() {
        return vcpu.phase();
    }

    @Override
    public boolean isInRun(long number) {
        return WatchedVcpu.isInRun(number);
    }

    @Override
    public boolean hasRun(long number) {
        return WatchedVcpu.hasRun(number);
    }
}
