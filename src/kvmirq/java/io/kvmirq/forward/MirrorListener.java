/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.VcpuId;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.kvm.WatchedVcpu;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import java.util.List;

/** Reports a VM's vCPU events to a mirror. */
record MirrorListener(Mirror mirror) implements VmListener {
    @Override
    public void vmCreated() {
        mirror.apply(new Event.VmCreated());
    }

    @Override
    public void vcpuAdded(VcpuId vcpu) {
        mirror.apply(new Event.VcpuAdded(vcpu));
    }

    @Override
    public void vcpuWatched(WatchedVcpu vcpu) {
        mirror.apply(new Event.VcpuWatched(vcpu.id(), new WatchedPhase(vcpu)));
    }

    /** Makes the mirror read the LAPIC before the next step. */
    @Override
    public void lapicSet() {
        mirror.apply(List.of());
    }

    @Override
    public void apicIdsWidened() {
        mirror.apply(new Event.ApicIdsWidened());
    }

    @Override
    public void broadcastQuirkDisabled() {
        mirror.apply(new Event.BroadcastQuirkDisabled());
    }
}
