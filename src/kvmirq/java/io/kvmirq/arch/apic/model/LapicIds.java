/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.LapicPage;

/**
 * An enabled LAPIC with the ids that an operating system assigns to it.
 *
 * @param vcpuId the vCPU id
 * @param isX2apic whether the LAPIC is in x2APIC mode
 * @param logicalId the LDR register, which holds the logical id
 * @param logicalFormat the DFR register, which selects the flat or the cluster model
 * @param arbitrationPriority the number of lowest-priority messages that the LAPIC got
 */
public record LapicIds(int vcpuId, int id, boolean isX2apic, int logicalId, int logicalFormat, int arbitrationPriority)
        implements LocalApic {
    public LapicIds {
        int max = isX2apic ? VcpuId.MAX : ApicMessage.BROADCAST;
        if (id < 0 || id > max || vcpuId < 0 || vcpuId > VcpuId.MAX) {
            throw new IllegalArgumentException("APIC id " + id + " of vCPU " + vcpuId
                    + " is out of range: expected ids 0-" + max + " of vCPUs 0-" + VcpuId.MAX);
        }
    }

    /** A LAPIC in xAPIC mode, flat model, with an 8-bit logical id. The APIC id is the vCPU id. */
    public static LapicIds flat(int vcpu, int logical) {
        return xapic(vcpu, logical, LapicPage.DFR_FLAT);
    }

    /**
     * A LAPIC in xAPIC mode, cluster model, with cluster 0–14 and a 4-bit member mask. Throws IllegalArgumentException
     * if the logical id exceeds 8 bits. The APIC id is the vCPU id.
     */
    public static LapicIds cluster(int vcpu, int cluster, int member) {
        return xapic(vcpu, cluster << 4 | member, LapicPage.DFR_CLUSTER);
    }

    private static LapicIds xapic(int vcpu, int logical, int format) {
        return new LapicIds(vcpu, vcpu, false, (int) LapicPage.XAPIC_ID.with(logical), format, 0);
    }

    /** A LAPIC in x2APIC mode. The APIC id is the vCPU id, and determines the logical id. */
    public static LapicIds x2apic(int vcpu) {
        int logical = (int) (LapicPage.CLUSTER.with(vcpu >>> 4) | LapicPage.MEMBERS.with(1L << (vcpu & 0xf)));
        return new LapicIds(vcpu, vcpu, true, logical, LapicPage.DFR_FLAT, 0);
    }

    public LapicIds withId(int other) {
        return new LapicIds(vcpuId, other, isX2apic, logicalId, logicalFormat, arbitrationPriority);
    }

    public LapicIds withPriority(int priority) {
        return new LapicIds(vcpuId, id, isX2apic, logicalId, logicalFormat, priority);
    }

    @Override
    public boolean enabled() {
        return true;
    }
}
