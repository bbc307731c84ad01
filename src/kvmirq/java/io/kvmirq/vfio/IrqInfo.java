/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.uapi.UapiVfio;
import java.util.Objects;

/**
 * VFIO's description of the interrupts of one index.
 *
 * @param count how many there are; 0 if the device has none of this kind
 * @param flags VFIO_IRQ_INFO_*, a bit each
 */
public record IrqInfo(IrqKind kind, int count, int flags) {
    public IrqInfo {
        Objects.requireNonNull(kind, "kind is null");
    }

    /** Whether they can signal eventfds. */
    public boolean eventfd() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_EVENTFD) != 0;
    }

    /** Whether they can be masked. */
    public boolean maskable() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_MASKABLE) != 0;
    }

    /** Whether each one masks itself until it is unmasked. */
    public boolean automasked() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_AUTOMASKED) != 0;
    }

    /** Whether an armed index must be disabled to get more vectors. Interrupts raised while it is disabled are lost. */
    public boolean noResize() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_NORESIZE) != 0;
    }
}
