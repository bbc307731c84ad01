/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The formats of AMD's IOMMU and AVIC, as descriptions only: there are no records of them. Constants, for any thread.
 *
 * <p>Source: drivers/iommu/amd/amd_iommu_types.h, arch/x86/include/asm/svm.h and arch/x86/kvm/svm/avic.c; what is
 * reserved, from the AMD I/O Virtualization Technology specification.
 */
@NullMarked
package io.kvmirq.arch.amd;

import org.jspecify.annotations.NullMarked;
