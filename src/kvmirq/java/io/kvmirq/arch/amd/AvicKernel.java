/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import io.kvmirq.arch.LinuxVersion;

/** Linux version ranges that differ in how KVM and the IOMMU driver post interrupts with AVIC. */
public enum AvicKernel {
    /**
     * Linux 6.5 to 6.16. A posted entry always has GALogIntr set. If an entry moves to another vCPU, KVM writes the
     * entry before unlinking it from the previous vCPU's {@code ir_list}. When an AVIC inhibit ends, an entry written
     * during the inhibit stays remapped, and every other entry has IsRun clear until its vCPU is loaded again. Posting
     * for a device without {@code dev_data->use_vapic} fails with EINVAL since 6.15 and in stable kernels since
     * 6.12.26, 6.6.89 and 6.1.136. Earlier kernels report success and leave the entry remapped.
     */
    UP_TO_6_16,
    /**
     * Linux 6.17 and later. A posted entry has GALogIntr set only while the vCPU blocks. If an entry moves to another
     * vCPU, KVM first unlinks it from the previous vCPU's {@code ir_list}, since 0a917e9d4b70 ("KVM: SVM: Delete IRTE
     * link from previous vCPU before setting new IRTE"). Entries written during an inhibit are on their vCPU's list as
     * well, since 6df262f915ab ("iommu/amd: KVM: SVM: Add IRTE metadata to affined vCPU's list if AVIC is inhibited").
     */
    FROM_6_17;

    /** The constant for a Linux version. */
    public static AvicKernel of(LinuxVersion version) {
        return version.isSince(6, 17) ? FROM_6_17 : UP_TO_6_16;
    }

    /** Whether posted entries always have GALogIntr set, not only while the vCPU blocks. */
    public boolean alwaysLogs() {
        return this == UP_TO_6_16;
    }
}
