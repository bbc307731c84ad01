/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The structures of AMD's IOMMU and of AVIC.
 *
 * <p>The classes contain a structure's {@link io.kvmirq.arch.Format} and the fields that read and write its words.
 *
 * <p>Source: drivers/iommu/amd/amd_iommu_types.h and arch/x86/include/asm/svm.h; reserved bits from the AMD I/O
 * Virtualization Technology specification.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.amd;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
