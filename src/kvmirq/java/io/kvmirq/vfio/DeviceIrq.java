/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.Optional;

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

    /**
     * The interrupts that were armed through this device's handle and keep this one from being armed: those of its own
     * kind, or of another one of INTx, MSI and MSI-X.
     */
    public final Optional<Armed> inTheWay() {
        return device.interrupts().inTheWay(index);
    }

    /**
     * Which kind of the device's INTx, MSI and MSI-X is enabled now, by whatever program has the device open. Changes
     * nothing. Which interrupts of the kind have eventfds is not told by any kernel.
     *
     * @return empty if none is; always empty for a platform device and for an error or request interrupt, of which the
     *     kernel does not tell
     * @throws io.kvmirq.KernelException as the kernel refuses the question
     */
    public final Optional<IrqKind> enabledKind() {
        return info().kind().excludesOthers() ? device.interrupts().enabledKind(index) : Optional.empty();
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
