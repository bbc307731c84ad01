/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/** A vector of MSI or MSI-X. */
public final class MessageIrq extends DeviceIrq {
    MessageIrq(VfioDevice device, int index, int vector) {
        super(device, index, vector);
    }

    /** This vector alone, for what takes many. */
    public MessageIrqs alone() {
        return new MessageIrqs(device(), index(), number(), 1);
    }
}
