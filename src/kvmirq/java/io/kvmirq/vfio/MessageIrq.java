/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * An MSI or MSI-X vector.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="forwarded"}
 */
public final class MessageIrq extends DeviceIrq {
    MessageIrq(VfioDevice device, IrqInfo info, int index, int vector) {
        super(device, info, index, vector);
    }

    /** A list of only this vector, for methods that take several vectors. */
    public MessageIrqs alone() {
        return new MessageIrqs(device(), info(), index(), number(), 1);
    }
}
