/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.OptionalInt;

/**
 * A vCPU's stage in the host's schedule.
 *
 * @param descriptor the state of its posted-interrupt descriptor
 * @param cpu the APIC id of the CPU on which a sleeping or preempted vCPU was last loaded. PID.NDST keeps it until the
 *     next load, because {@code vmx_vcpu_pi_put()} does not write the field. Empty for a vCPU in user space, which any
 *     call can load
 */
record VcpuPlace(VcpuStage stage, Descriptor descriptor, OptionalInt cpu) {
    /** A vCPU descriptor's state. */
    enum Descriptor {
        /** KVM has updated the descriptor for this stage. */
        UPDATED,
        /** The descriptor is as the last load left it. */
        AS_LOADED,
        UNKNOWN
    }

    VcpuPlace(VcpuStage stage, Descriptor descriptor) {
        this(stage, descriptor, OptionalInt.empty());
    }

    /** This place, with the CPU of {@code before}. */
    VcpuPlace after(VcpuPlace before) {
        if (!(stage instanceof VcpuStage.Blocked || stage instanceof VcpuStage.Preempted)) {
            return this;
        }
        return new VcpuPlace(
                stage,
                descriptor,
                before.stage instanceof VcpuStage.Loaded loaded
                        ? OptionalInt.of(loaded.cpu())
                        : before.stage.equals(stage) ? before.cpu : OptionalInt.empty());
    }
}
