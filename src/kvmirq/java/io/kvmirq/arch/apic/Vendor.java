/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** The makers of processors whose IOMMU posts interrupts. */
public enum Vendor {
    /** VT-d posted interrupts and APICv. */
    INTEL,
    /** AMD-Vi guest virtual APIC mode and AVIC. */
    AMD
}
