/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.Objects;

/**
 * An INTx or platform device interrupt. It is level-triggered if {@link IrqInfo#automasked} is true.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="line"}
 */
public final class LineIrq extends DeviceIrq {
    LineIrq(VfioDevice device, int index) {
        super(device, device.info().irqs().get(index), index, 0);
    }

    /**
     * Enables the line, and attaches the eventfd that it signals. The kernel masks a level-triggered line after each
     * signal, until a program unmasks it.
     *
     * @throws io.kvmirq.KernelException EBUSY if another driver handles the line and VFIO or that driver does not share
     *     it; EINVAL if another program armed the device's interrupts; ENODEV if the line is unusable
     * @throws IllegalStateException while the line, or the device's MSI or MSI-X, is armed
     */
    public ArmedLine arm(EventFd event) {
        Objects.requireNonNull(event, "event is null");
        return ArmedLine.arm(device().interrupts(), index(), event);
    }
}
