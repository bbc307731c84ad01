/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;

/**
 * A vCPU's id within its VM, 0–{@value #MAX}. KVM refuses ids of {@code KVM_CAP_MAX_VCPU_ID} or above. On x86, the id
 * is also the initial APIC id.
 */
public record VcpuId(int number) implements Comparable<VcpuId> {
    /** The highest vCPU id on an x86 kernel with default options: {@code KVM_MAX_VCPU_IDS} - 1. */
    public static final int MAX = 4095;
    /** The maximum number of vCPUs with a GICv2, {@code VGIC_V2_MAX_CPUS}. */
    public static final int MOST_OF_GICV2 = 8;
    /** The maximum number of vCPUs with a GICv3, {@code VGIC_V3_MAX_CPUS}. */
    public static final int MOST_OF_GICV3 = 512;

    public VcpuId {
        if (number < 0 || number > MAX) {
            throw new IllegalArgumentException("vCPU id " + number + " is out of range: expected 0-" + MAX);
        }
    }

    @Override
    public int compareTo(VcpuId other) {
        Objects.requireNonNull(other, "other is null");
        return Integer.compare(number, other.number);
    }

    @Override
    public String toString() {
        return "vcpu " + number;
    }
}
