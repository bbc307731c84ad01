/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * One interrupt of a device. The object is a name: it holds nothing, and two names of one interrupt are equal. What is
 * done with the interrupt is done through what arming it gives. Immutable.
 */
public abstract sealed class DeviceIrq permits MessageIrq, LineIrq, NoticeIrq {
    private final VfioDevice device;
    private final int index;
    private final int number;

    DeviceIrq(VfioDevice device, int index, int number) {
        this.device = device;
        this.index = index;
        this.number = number;
    }

    /** The device. */
    public final VfioDevice device() {
        return device;
    }

    /** Its kind, and what it has in common with others of this kind. */
    public final IrqInfo info() {
        return device.info().irqs().get(index);
    }

    /** Which one of its kind: the vector of MSI and MSI-X, the interrupt of a platform device, else 0. */
    public final int number() {
        return info().kind() == IrqKind.PLATFORM ? index : number;
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
        boolean one = info().kind() != IrqKind.PLATFORM && info().count() == 1;
        return info().kind().label() + (one ? "" : " " + number()) + " of " + device.name();
    }
}
