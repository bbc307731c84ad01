/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;

/**
 * A listener for events of a VM and its vCPUs. The thread that changes the VM calls it without a lock, so a listener
 * that is just being added may get an event twice. Its exceptions are logged, and the VM's change stays.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="listener"}
 */
@NotPromised
public interface VmListener {
    /** This process created the VM, so {@link #vcpuAdded} will report every vCPU of the VM. */
    default void vmCreated() {}

    /** A vCPU was added. In KVM the vCPU exists until the VM ends, even after {@link Vcpu#close}. */
    void vcpuAdded(VcpuId vcpu);

    /** From now on {@code vcpu} shows whether a vCPU in this process is in KVM_RUN. Called after {@link #vcpuAdded}. */
    default void vcpuWatched(WatchedVcpu vcpu) {}

    /** A call set registers of a vCPU's LAPIC, see {@link WatchedVcpu#lapic} and {@link WatchedVcpu#hasLapicOf}. */
    default void lapicSet() {}

    /** {@link X86Vm#use32BitApicIds} was called: APIC ids now have 32 bits. */
    void apicIdsWidened();

    /** {@link X86Vm#disableBroadcastQuirk} was called: 255 is no longer a broadcast in x2APIC mode. */
    default void broadcastQuirkDisabled() {}
}
