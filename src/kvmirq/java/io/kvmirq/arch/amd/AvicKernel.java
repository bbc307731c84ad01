/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

/** How KVM and the IOMMU driver post with AVIC. */
public enum AvicKernel {
    /**
     * Linux 6.5 to 6.16. GALogIntr is always set. An entry that moves is written first, then unlinked from the previous
     * vCPU, which the GATag names. An entry set while AVIC is inhibited stays remapped when the inhibit ends. Another
     * entry then has IsRun clear until its vCPU is loaded again. A device without {@code use_vapic} gives EINVAL, as
     * since 6.15 and in stable kernels since 6.12.26, 6.6.89 and 6.1.136. Kernels before report success, and leave the
     * entry remapped.
     */
    UP_TO_6_16,
    /**
     * Linux 6.17 and later. GALogIntr is set only while the vCPU blocks. An entry that moves is unlinked first. Entries
     * are on the list of their vCPU also while AVIC is inhibited.
     */
    FROM_6_17
}
