/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;

/**
 * A listener for events of a VM and its vCPUs. The thread that changes the VM calls the listener without holding a
 * lock, and may report an event twice. An exception of the listener is logged, and the change remains.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="listener"}
 */
@NotPromised
public interface VmListener {
    /** This process created the VM, so {@link #vcpuAdded} reports every vCPU. */
    default void vmCreated() {}

    /** A vCPU was added. The VM keeps the vCPU until the VM ends, even after {@link Vcpu#close}. */
    void vcpuAdded(VcpuId vcpu);

    /** The phase of a vCPU that {@link Vm#createVcpu} made can be read from now on. Called after {@link #vcpuAdded}. */
    default void vcpuWatched(WatchedVcpu vcpu) {}

    /** A call has set registers of a vCPU's LAPIC, see {@link WatchedVcpu#lapic} and {@link WatchedVcpu#hasLapicOf}. */
    default void lapicSet() {}

    /** {@link X86Vm#use32BitApicIds} was called: APIC ids have 32 bits from now on. */
    void apicIdsWidened();

    /** {@link X86Vm#disableBroadcastQuirk} was called: destination 255 is no broadcast in x2APIC mode from now on. */
    default void broadcastQuirkDisabled() {}
}
