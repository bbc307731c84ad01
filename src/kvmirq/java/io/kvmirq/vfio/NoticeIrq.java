/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;

/** An interrupt that the bus driver raises, not the device: it reports an error, or asks for the device back. */
public final class NoticeIrq extends DeviceIrq {
    NoticeIrq(VfioDevice device, int index) {
        super(device, device.info().irqs().get(index), index, 0);
    }

    /**
     * Makes it signal an eventfd. KernelException EINVAL for an adopted one of another kind, IllegalStateException
     * while it is armed.
     */
    public ArmedIrq arm(EventFd event) {
        return ArmedIrq.arm(device().interrupts(), index(), event);
    }
}
