/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.HostIrq;
import java.util.Optional;

/** Finds the host irq of a device interrupt. */
public interface HostIrqs {
    /** The host irq of an armed interrupt. Empty if the interrupt is not armed, or its host irq is not shown. */
    Optional<HostIrq> of(DeviceIrq irq);
}
