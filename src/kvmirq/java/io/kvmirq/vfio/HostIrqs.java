/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.HostIrq;
import java.util.Optional;

/** Finds the host irq of a device interrupt. */
public interface HostIrqs {
    /** The host irq of an armed interrupt; empty if the interrupt is not armed, or its bus driver hides the irq. */
    Optional<HostIrq> of(DeviceIrq irq);
}
