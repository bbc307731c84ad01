/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

/** How KVM finds the LPI of a host interrupt. Fixes were carried over to stable kernels, so a version is a hint. */
public enum VlpiKernel {
    /**
     * Before 6.16: by the route, as the ITS translates it now. A change of the route does nothing to the LPI of the old
     * one, which stays a vLPI, and a later step warns.
     */
    BY_ROUTE,
    /** Since 6.16: by the host interrupt. A change of the route ends its vLPI; the new route makes none by itself. */
    BY_HOST_IRQ
}
