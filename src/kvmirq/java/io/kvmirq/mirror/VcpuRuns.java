/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import io.kvmirq.mirror.VcpuPlace.Descriptor;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Each vCPU's last known schedule step. */
final class VcpuRuns {
    private final Map<VcpuId, VcpuPlace> runs = new HashMap<>();

    @Nullable
    VcpuPlace get(VcpuId vcpu) {
        return runs.get(vcpu);
    }

    Map<VcpuId, VcpuPlace> copy() {
        return new HashMap<>(runs);
    }

    /** Records a schedule step. Returns false if nothing changes, as when a sleeping vCPU is preempted. */
    boolean put(VcpuId vcpu, VcpuPlace run) {
        VcpuPlace before = runs.get(vcpu);
        if (before != null
                && before.stage() instanceof VcpuStage.Blocked
                && run.stage() instanceof VcpuStage.Preempted) {
            return false;
        }
        runs.put(vcpu, before == null ? run : run.after(before));
        return true;
    }

    /** @return whether a step of the vCPU was known */
    boolean forget(VcpuId vcpu) {
        return runs.remove(vcpu) != null;
    }

    void remove(VcpuId vcpu) {
        runs.remove(vcpu);
    }

    /**
     * Called when irqbypass no longer joins any interrupt. The descriptor of a vCPU in KVM_RUN stays until the vCPU's
     * next load. But a call on a vCPU in user space loads the vCPU, and no longer sets SN afterwards.
     */
    void endPosting() {
        runs.replaceAll((vcpu, run) ->
                run.stage() instanceof VcpuStage.Left ? new VcpuPlace(run.stage(), Descriptor.UNKNOWN) : run);
    }
}
