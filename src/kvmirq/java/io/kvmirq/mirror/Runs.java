/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The steps of the vCPUs' schedules, as far as events said. */
final class Runs {
    private final Map<VcpuId, VcpuRun> runs = new HashMap<>();
    /** vCPUs whose entries do not follow them yet after an inhibit, each with the CPU that it is loaded on. */
    private final Map<VcpuId, OptionalInt> following = new HashMap<>();

    @Nullable
    VcpuRun get(VcpuId vcpu) {
        return runs.get(vcpu);
    }

    Map<VcpuId, VcpuRun> copy() {
        return new HashMap<>(runs);
    }

    /** A step; true if the vCPU's state changes. A woken sleeper changes nothing before it is loaded. */
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
     * Whether KVM updates the IRTEs of a vCPU at this step. After an inhibit the next load does not count, as the entry that turns
     * AVIC on may come behind it. An observer may tell of it twice, as after a HLT without a sleep. A later load counts.
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

    /** @return whether a step was known */
    boolean forget(VcpuId vcpu) {
        return runs.remove(vcpu) != null;
    }

    void remove(VcpuId vcpu) {
        runs.remove(vcpu);
        following.remove(vcpu);
    }

    /** An inhibit ends: the entries do not say that their vCPUs run, until those are loaded again. */
    void endInhibit(Set<VcpuId> vcpus) {
        following.clear();
        vcpus.forEach(vcpu -> following.put(vcpu, OptionalInt.empty()));
        runs.clear();
    }

    /** The last interrupt that hardware posts is gone: KVM leaves the descriptors as they are, whatever the vCPUs do. */
    void endPosting() {
        runs.replaceAll((vcpu, run) -> run.withoutPosting());
    }
}
