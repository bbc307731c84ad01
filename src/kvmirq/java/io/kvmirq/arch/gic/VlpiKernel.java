/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

/**
 * Kernel versions that differ in how KVM finds the LPI of a host interrupt. A stable kernel of an older version may
 * have the change of 6.16, so the version is only a hint.
 */
public enum VlpiKernel {
    /**
     * Before 6.16, KVM finds the LPI by the route and its current ITS translation. If the route changes, the old
     * route's LPI stays a vLPI, and the kernel warns when the guest discards it or the irqfd ends.
     */
    BY_ROUTE,
    /** Since 6.16, KVM finds the LPI by the host interrupt. A new route ends the vLPI, and gets no vLPI. */
    BY_HOST_IRQ
}
