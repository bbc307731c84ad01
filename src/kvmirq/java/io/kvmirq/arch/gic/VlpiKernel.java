/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

/**
 * Kernel versions that differ in how KVM finds the LPI of a host interrupt. Stable kernels may have the fixes, so the
 * version is only a hint.
 */
public enum VlpiKernel {
    /**
     * Before 6.16, KVM finds the LPI by the route and its current ITS translation. If the route changes, the old
     * route's LPI stays a vLPI, and a later change makes the kernel warn.
     */
    BY_ROUTE,
    /** Since 6.16, KVM finds the LPI by the host interrupt. A new route ends the vLPI, and gets no vLPI. */
    BY_HOST_IRQ
}
