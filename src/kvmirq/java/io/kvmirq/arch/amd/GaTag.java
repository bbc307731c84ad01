/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/**
 * A GATag, which identifies the VM and the vCPU in the GA log ({@code AVIC_GATAG}). The layout depends on {@link
 * GaTagKernel}.
 */
public final class GaTag {
    /** The VM id, since Linux 6.18. */
    public static final BitField VM = new BitField("vm_id", 12, 20, always("", "VM"));

    /** The vCPU's index in creation order, since Linux 6.18. */
    public static final BitField VCPU = new BitField("vcpu_idx", 0, 12, always("", "index of the vCPU, not its id"));

    /** The VM id, up to Linux 6.0. */
    public static final BitField VM_6_0 = new BitField("vm_id", 8, 24, always("", "VM"));

    /** The vCPU id, up to Linux 6.0. */
    public static final BitField VCPU_6_0 = new BitField("vcpu_id", 0, 8, always("", "id of the vCPU"));

    /** The VM id, in Linux 6.1 to 6.17. */
    public static final BitField VM_6_1 = new BitField("vm_id", 9, 23, always("", "VM"));

    /** The vCPU id in Linux 6.1 to 6.16, and the vCPU index in 6.17. */
    public static final BitField VCPU_6_1 =
            new BitField("vcpu_id", 0, 9, always("", "id of the vCPU, in Linux 6.17 its index"));

    /** The {@code kvmirq decode} format {@code gatag.6.0}. */
    public static final Format FORMAT_6_0 = Format.builder("gatag.6.0", "GATag of Linux up to 6.0", 32, 1)
            .fields(VM_6_0, VCPU_6_0)
            .build();

    /** The {@code kvmirq decode} format {@code gatag.6.1}. */
    public static final Format FORMAT_6_1 = Format.builder("gatag.6.1", "GATag of Linux 6.1 to 6.17", 32, 1)
            .fields(VM_6_1, VCPU_6_1)
            .build();

    /** The {@code kvmirq decode} format {@code gatag}. */
    public static final Format FORMAT = Format.builder("gatag", "GATag of Linux 6.18 and later", 32, 1)
            .fields(VM, VCPU)
            .build();

    private GaTag() {}
}
