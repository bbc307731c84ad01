/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.Objects;

/**
 * INTx of a PCI device, or an interrupt of a platform device, which is level-triggered if {@link IrqInfo#automasked}.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="line"}
 */
public final class LineIrq extends DeviceIrq {
    LineIrq(VfioDevice device, int index) {
        super(device, device.info().irqs().get(index), index, 0);
    }

    /**
     * Enables the line and makes it signal an eventfd. A level-triggered line is masked after each signal until it is
     * unmasked.
     *
     * @throws io.kvmirq.KernelException EBUSY when the line has another handler, and one of the two handlers does not
     *     share it; EINVAL when another program armed the device; ENODEV without a usable line
     * @throws IllegalStateException while MSI or MSI-X of the device is armed, or the line
     */
    public ArmedLine arm(EventFd event) {
        Objects.requireNonNull(event, "event is null");
        return ArmedLine.arm(device().interrupts(), index(), event);
    }
}
