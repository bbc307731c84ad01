/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The structures of AMD's IOMMU and of AVIC. Each class holds the fields, which are also the accessors over the words, and
 * the {@link io.kvmirq.arch.Format} of one structure. Constants only; safe for use by any number of threads.
 *
 * <p>Source: drivers/iommu/amd/amd_iommu_types.h, arch/x86/include/asm/svm.h and arch/x86/kvm/svm/avic.c; reserved bits
 * from the AMD I/O Virtualization Technology specification.
 */
@NullMarked
package io.kvmirq.arch.amd;

import org.jspecify.annotations.NullMarked;
