/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/** A GATag: {@code AVIC_GATAG}. VM and vCPU have 20 and 12 bits in Linux 7.1, 23 and 9 bits in 6.1. */
public final class GaTag {
    /** The id of the VM. */
    public static final BitField VM = new BitField("vm_id", 12, 20, always("", "VM"));

    /** The index of the vCPU. */
    public static final BitField VCPU = new BitField("vcpu_idx", 0, 12, always("", "index of the vCPU, not its id"));

    /** The id of the VM, in Linux 6.1. */
    public static final BitField VM_6_1 = new BitField("vm_id", 9, 23, always("", "VM"));

    /** The id of the vCPU, in Linux 6.1. */
    public static final BitField VCPU_6_1 = new BitField("vcpu_id", 0, 9, always("", "id of the vCPU"));

    /** Kind {@code gatag.6.1}. */
    public static final Format FORMAT_6_1 = Format.builder("gatag.6.1", "GATag as Linux 6.1 divides it", 32, 1)
            .fields(VM_6_1, VCPU_6_1)
            .build();

    /** Kind {@code gatag}. */
    public static final Format FORMAT = Format.builder("gatag", "GATag as Linux 7.1 divides it", 32, 1)
            .fields(VM, VCPU)
            .build();

    private GaTag() {}
}
