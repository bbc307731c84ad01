/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.IrqKind;
import java.util.Optional;

/**
 * Identifies a device interrupt, without holding any resource. To receive the interrupt, arm it and use the object that
 * arming returns. Two objects for one interrupt are equal. Immutable.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="line"}
 */
public abstract sealed class DeviceIrq permits MessageIrq, LineIrq, NoticeIrq {
    private final VfioDevice device;
    private final IrqInfo info;
    private final int index;
    private final int number;

    DeviceIrq(VfioDevice device, IrqInfo info, int index, int number) {
        this.device = device;
        this.info = info;
        this.index = index;
        this.number = info.kind() == IrqKind.PLATFORM ? index : number;
    }

    /** The device that has the interrupt. */
    public final VfioDevice device() {
        return device;
    }

    /** The interrupt's kind, and the properties of all the device's interrupts of this kind. */
    public final IrqInfo info() {
        return info;
    }

    /** The number within its kind: the vector for MSI and MSI-X, the index for a platform device, otherwise 0. */
    public final int number() {
        return number;
    }

    /**
     * The armed interrupts of this {@link VfioDevice} that prevent arming this one: those of the same kind (on a
     * platform device, the same index), or those of another kind among INTx, MSI and MSI-X, because only one of these
     * kinds can be armed.
     */
    public final Optional<Armed> inTheWay() {
        return device.interrupts().inTheWay(index);
    }

    /**
     * The kind (INTx, MSI or MSI-X) that this or another process has enabled on the device. The probe changes nothing.
     * No kernel reports which interrupts of that kind have eventfds.
     *
     * @return the kind, empty if none is enabled. Always empty for a platform device and for an error or request
     *     interrupt, because no kernel reports whether these are enabled
     * @throws io.kvmirq.KernelException if the kernel refuses VFIO_DEVICE_SET_IRQS
     */
    public final Optional<IrqKind> enabledKind() {
        return info.excludesOthers() ? device.interrupts().enabledKind(index) : Optional.empty();
    }

    final int index() {
        return index;
    }

    @Override
    public final boolean equals(Object other) {
        return other instanceof DeviceIrq irq && irq.device == device && irq.index == index && irq.number == number;
    }

    @Override
    public final int hashCode() {
        return (System.identityHashCode(device) * 31 + index) * 31 + number;
    }

    @Override
    public final String toString() {
        boolean single = info.kind() != IrqKind.PLATFORM && info.count() == 1;
        return info.kind().label() + (single ? "" : " " + number) + " of " + device.name();
    }
}
