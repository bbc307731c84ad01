/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** A vCPU's place in its schedule, and whether KVM has updated its posted-interrupt descriptor for it. */
record VcpuRun(VcpuStage stage, boolean descriptor) {
    /** The place after posting to the VM has ended. KVM then updates only the descriptor of a loaded vCPU. */
    VcpuRun withoutPosting() {
        return stage instanceof VcpuStage.Loaded ? this : new VcpuRun(stage, false);
    }
}
