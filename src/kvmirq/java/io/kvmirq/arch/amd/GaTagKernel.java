/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.LinuxVersion;

/**
 * Linux version ranges that differ in GATag layout ({@code AVIC_GATAG}). The vCPU field is as wide as an index into
 * AVIC's largest physical APIC id table.
 */
public enum GaTagKernel {
    /** Linux up to 6.0: 24-bit VM id, 8-bit vCPU id. */
    UP_TO_6_0(GaTag.VM_6_0, GaTag.VCPU_6_0, false),
    /** Stable kernels of 6.1 and 6.2, and 6.3 to 6.16: 23-bit VM id, 9-bit vCPU id. */
    FROM_6_1(GaTag.VM_6_1, GaTag.VCPU_6_1, false),
    /**
     * Linux 6.17, 11a60455d4c9 ("KVM: SVM: Use vcpu_idx, not vcpu_id, for GA log tag/metadata"): 23-bit VM id, 9-bit
     * vCPU index.
     */
    FROM_6_17(GaTag.VM_6_1, GaTag.VCPU_6_1, true),
    /** Linux 6.18 and later: 20-bit VM id, 12-bit vCPU index. */
    FROM_6_18(GaTag.VM, GaTag.VCPU, true);

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final BitField vm;

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final BitField vcpu;

    private final boolean byIndex;

    GaTagKernel(BitField vm, BitField vcpu, boolean byIndex) {
        this.vm = vm;
        this.vcpu = vcpu;
        this.byIndex = byIndex;
    }

    /** The constant for a Linux version. */
    public static GaTagKernel of(LinuxVersion version) {
        if (version.isSince(6, 18)) {
            return FROM_6_18;
        }
        return version.isSince(6, 17) ? FROM_6_17 : version.isSince(6, 1) ? FROM_6_1 : UP_TO_6_0;
    }

    /** The GATag field that holds the VM id. */
    public BitField vm() {
        return vm;
    }

    /** The GATag field that holds the vCPU id or index. */
    public BitField vcpu() {
        return vcpu;
    }

    /** Whether a GATag identifies a vCPU by its index in creation order, not by its id. */
    public boolean isByIndex() {
        return byIndex;
    }

    /** The GATag of a vCPU. A vCPU id or index that does not fit is truncated, as in the kernel. */
    public long tag(long vmId, int vcpuId, int vcpuIndex) {
        return vm.with(vmId) | vcpu.with((byIndex ? vcpuIndex : vcpuId) & vcpu.max());
    }
}
