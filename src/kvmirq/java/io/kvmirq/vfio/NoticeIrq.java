/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;

/**
 * An interrupt that the bus driver, not the device, raises to report an error or to request the device back.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="notices"}
 */
public final class NoticeIrq extends DeviceIrq {
    NoticeIrq(VfioDevice device, int index) {
        super(device, device.info().irqs().get(index), index, 0);
    }

    /**
     * Makes the interrupt signal an eventfd. Throws KernelException EINVAL if {@code event} is not an eventfd, and
     * IllegalStateException if the interrupt is already armed.
     */
    public ArmedIrq arm(EventFd event) {
        return ArmedIrq.arm(device().interrupts(), index(), event);
    }
}
