/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** The interrupt hardware of the modelled host. */
public enum Hardware {
    /** x86 with a remapping unit of no particular vendor, which cannot post interrupts. */
    REMAPPING,
    /** Intel with VT-d and APICv. The remapping units cannot post interrupts. */
    VTD,
    /** Intel with VT-d and APICv. The remapping units post interrupts. */
    VTD_POSTING,
    /** AMD without AVIC. The IOMMU remaps interrupts and cannot post them. */
    AMD_VI,
    /** AMD with AVIC and an IOMMU in GA mode. */
    AMD_AVIC,
    /** Hardware like {@link #AMD_AVIC}, but AVIC is inhibited in every VM. */
    AVIC_INHIBITED,
    /** arm64 with a GICv2: its VMs have a GICv2, at most 8 vCPUs and no ITS. */
    GICV2,
    /** arm64 with a GICv3, without vLPIs. */
    GICV3,
    /** arm64 with a GICv4, with vLPIs. */
    GICV4;

    public boolean isAmd() {
        return this == AMD_VI || this == AMD_AVIC || this == AVIC_INHIBITED;
    }

    /** Whether KVM runs guests by VMX. */
    public boolean isIntel() {
        return this == VTD || this == VTD_POSTING;
    }

    /** Whether this is hardware of an x86-64 host; if not, the host is arm64. */
    public boolean isX86() {
        return this != GICV2 && this != GICV3 && this != GICV4;
    }
}
