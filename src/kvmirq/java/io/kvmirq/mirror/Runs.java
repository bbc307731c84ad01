/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The last known schedule step of each vCPU. */
final class Runs {
    private final Map<VcpuId, VcpuRun> runs = new HashMap<>();
    /** vCPUs whose entries KVM does not update yet after an inhibit, each with the CPU on which it is loaded. */
    private final Map<VcpuId, OptionalInt> following = new HashMap<>();

    @Nullable
    VcpuRun get(VcpuId vcpu) {
        return runs.get(vcpu);
    }

    Map<VcpuId, VcpuRun> copy() {
        return new HashMap<>(runs);
    }

    /**
     * Records a schedule step; true if the vCPU's state changes. A sleeping vCPU changes its state only when it is
     * loaded.
     */
    boolean put(VcpuId vcpu, VcpuRun run) {
        VcpuRun before = runs.get(vcpu);
        if (before != null
                && before.stage() instanceof VcpuStage.Blocked
                && run.stage() instanceof VcpuStage.Preempted) {
            return false;
        }
        if (!follows(vcpu, run)) {
            return forget(vcpu);
        }
        runs.put(vcpu, run);
        return true;
    }

    /**
     * Whether KVM updates the IRTEs of a vCPU at this step. After an inhibit it may not do so at the next load, because
     * the vCPU's entry that turns AVIC on may come later. An observer may report this load twice, for example after a
     * HLT without a sleep. From the following load on KVM updates them.
     */
    private boolean follows(VcpuId vcpu, VcpuRun run) {
        OptionalInt before = following.get(vcpu);
        if (before == null) {
            return true;
        }
        OptionalInt now =
                run.stage() instanceof VcpuStage.Loaded loaded ? OptionalInt.of(loaded.cpu()) : OptionalInt.empty();
        if (before.isPresent() && !now.equals(before)) {
            following.remove(vcpu);
            return true;
        }
        following.put(vcpu, now);
        return now.isEmpty();
    }

    /** @return whether a step of the vCPU was known */
    boolean forget(VcpuId vcpu) {
        return runs.remove(vcpu) != null;
    }

    void remove(VcpuId vcpu) {
        runs.remove(vcpu);
        following.remove(vcpu);
    }

    /** Called when an inhibit ends: IsRun of the entries stays 0 until their vCPUs are loaded again. */
    void endInhibit(Set<VcpuId> vcpus) {
        following.clear();
        vcpus.forEach(vcpu -> following.put(vcpu, OptionalInt.empty()));
        runs.clear();
    }

    /** Called when hardware posts no more interrupts: KVM no longer updates the descriptors, whatever the vCPUs do. */
    void endPosting() {
        runs.replaceAll((vcpu, run) -> run.withoutPosting());
    }
}
