/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.HostIrq;
import java.util.Optional;

/** Finds the host irq that serves an interrupt of a device. */
public interface HostIrqs {
    /**
     * The host irq of an armed interrupt. Empty if the interrupt is not armed, or the bus driver does not show its host
     * irq.
     */
    Optional<HostIrq> of(DeviceIrq irq);
}
