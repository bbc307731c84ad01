/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;

/**
 * A listener for VM and vCPU events. It is called without a lock by the thread that changes the VM, so it may get an
 * event twice while it is being added. Its exceptions are logged and do not undo the change.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="listener"}
 */
@NotPromised
public interface VmListener {
    /** This process created the VM, so {@link #vcpuAdded} will report every vCPU of the VM. */
    default void vmCreated() {}

    /** A vCPU was added. In KVM the vCPU exists until the VM ends, even after {@link Vcpu#close}. */
    void vcpuAdded(VcpuId vcpu);

    /** Passes an object that reports whether this process's vCPU is in KVM_RUN. Called after {@link #vcpuAdded}. */
    default void vcpuWatched(WatchedVcpu vcpu) {}

    /** A call set a vCPU's LAPIC registers. See {@link WatchedVcpu#lapic} and {@link WatchedVcpu#hasLapicOf}. */
    default void lapicSet() {}

    /** {@link X86Vm#use32BitApicIds} was called, so APIC ids now have 32 bits. */
    void apicIdsWidened();

    /** {@link X86Vm#disableBroadcastQuirk} was called, so 255 is no longer a broadcast in x2APIC mode. */
    default void broadcastQuirkDisabled() {}
}
