/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;

/**
 * Is told of a VM's vCPUs. It is called in the thread that changes the VM, with no lock held, and may be told twice. An
 * exception of it is logged, and the change stands.
 */
@NotPromised
public interface VmListener {
    /** A vCPU exists. A VM keeps it as long as the VM lives, also after {@link Vcpu#close}. */
    void vcpuAdded(VcpuId vcpu);

    /** The phase of a vCPU that {@link Vm#createVcpu} made can be read from now on. Follows {@link #vcpuAdded}. */
    default void vcpuWatched(WatchedVcpu vcpu) {}

    /** APIC ids have 32 bits from now on: {@link Vm#use32BitApicIds}. */
    void apicIdsWidened();

    /** Destination 255 is no broadcast in x2APIC mode from now on: {@link Vm#disableBroadcastQuirk}. */
    default void broadcastQuirkDisabled() {}
}
