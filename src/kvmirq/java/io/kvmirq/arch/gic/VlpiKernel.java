/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

/**
 * Linux version ranges that differ in how KVM finds a host interrupt's LPI. A stable kernel older than 6.16 can have
 * 6.16's code, so the version alone does not determine the constant.
 */
public enum VlpiKernel {
    /**
     * Before 6.16, KVM finds the LPI by the GSI's MSI route and the ITS's current translation. If the route changes,
     * the old route's LPI stays mapped to a vLPI, and the kernel warns when the guest discards it or the irqfd is
     * deassigned.
     */
    BY_ROUTE,
    /** Since 6.16, KVM finds the LPI by the host interrupt. A new route unmaps the vLPI and does not map another. */
    BY_HOST_IRQ
}
