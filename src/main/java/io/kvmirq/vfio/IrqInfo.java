/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.uapi.UapiVfio;

/**
 * VFIO's description of the interrupts of one index.
 *
 * @param count how many there are; 0 if the device has none of this kind
 * @param eventfd whether they can signal eventfds
 * @param maskable whether they can be masked
 * @param automasked whether each one masks itself until it is unmasked
 * @param noResize whether an armed index must be disabled to get more vectors, which loses interrupts meanwhile
 */
public record IrqInfo(
        IrqKind kind, int count, boolean eventfd, boolean maskable, boolean automasked, boolean noResize) {
    static IrqInfo of(IrqKind kind, int count, int flags) {
        return new IrqInfo(
                kind,
                count,
                (flags & UapiVfio.VFIO_IRQ_INFO_EVENTFD) != 0,
                (flags & UapiVfio.VFIO_IRQ_INFO_MASKABLE) != 0,
                (flags & UapiVfio.VFIO_IRQ_INFO_AUTOMASKED) != 0,
                (flags & UapiVfio.VFIO_IRQ_INFO_NORESIZE) != 0);
    }
}
