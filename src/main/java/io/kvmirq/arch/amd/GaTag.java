/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/** A GATag: {@code AVIC_GATAG} of Linux 7.1. Kernels before 6.17 divide it otherwise. */
public final class GaTag {
    /** The id of the VM. */
    public static final BitField VM = new BitField("vm_id", 12, 20, always("", "VM"));

    /** The index of the vCPU. */
    public static final BitField VCPU = new BitField("vcpu_idx", 0, 12, always("", "index of the vCPU, not its id"));

    /** Kind {@code gatag}. */
    public static final Format FORMAT = Format.builder("gatag", "GATag as Linux 7.1 divides it", 32, 1)
            .fields(VM, VCPU)
            .build();

    private GaTag() {}
}
