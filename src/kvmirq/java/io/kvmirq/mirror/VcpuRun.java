/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/**
 * The place of a vCPU in its schedule, and the state of its descriptor that follows.
 *
 * @param descriptor whether KVM kept the vCPU's posted-interrupt descriptor up to date in this step, and still does
 */
record VcpuRun(VcpuStage stage, boolean descriptor) {
    /** Nothing is posted to the VM any more. KVM keeps only the descriptor of a loaded vCPU up to date then. */
    VcpuRun withoutPosting() {
        return stage instanceof VcpuStage.Loaded ? this : new VcpuRun(stage, false);
    }
}
