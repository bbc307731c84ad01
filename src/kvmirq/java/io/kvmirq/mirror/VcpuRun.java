/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/** A vCPU's place in its schedule, and whether KVM keeps its posted-interrupt descriptor up to date there. */
record VcpuRun(VcpuStage stage, boolean descriptor) {
    /** Nothing is posted to the VM any more. KVM keeps only the descriptor of a loaded vCPU up to date then. */
    VcpuRun withoutPosting() {
        return stage instanceof VcpuStage.Loaded ? this : new VcpuRun(stage, false);
    }
}
