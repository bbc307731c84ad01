/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** Vendors of processors whose IOMMU posts interrupts. */
public enum Vendor {
    /** Intel, with VT-d posted interrupts and APICv. */
    INTEL,
    /** AMD, with the guest virtual APIC mode of AMD-Vi and AVIC. */
    AMD
}
