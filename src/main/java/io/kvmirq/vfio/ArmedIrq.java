/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.List;
import java.util.Optional;

/** One interrupt of a device, with an eventfd. Thread-safe. */
public sealed class ArmedIrq extends Armed permits ArmedLine {
    ArmedIrq(Interrupts irqs, int index) {
        super(irqs, index);
    }

    static ArmedIrq arm(VfioDevice device, int index, EventFd event) {
        ArmedIrq armed = new ArmedIrq(device.interrupts(), index);
        armed.enable(0, List.of(event));
        return armed;
    }

    /**
     * Gives it another eventfd. A line keeps its mask.
     *
     * @throws VectorsDisturbedException if the kernel refuses; it has its former eventfd again
     */
    public final void set(EventFd event) {
        synchronized (irqs()) {
            change(0, List.of(Optional.of(event)));
        }
    }

    /** Takes its eventfd. A line stays enabled, before 6.9 it is disabled; either way {@link #set} arms it again. */
    public final void detach() {
        synchronized (irqs()) {
            change(0, List.of(Optional.empty()));
        }
    }

    /**
     * Signals its eventfd as the device would; a masked line's is not.
     *
     * @throws io.kvmirq.KernelException EINVAL after {@link #detach} of an error or request interrupt
     */
    public final void trigger() {
        act(TRIGGER);
    }

    /** {@link #trigger} for true; nothing for false. VFIO takes a byte for each interrupt too. */
    public final void triggerIf(boolean on) {
        act(TRIGGER, on);
    }

    final void act(int action) {
        synchronized (irqs()) {
            requireOpen();
            check(irqs().act(action, index(), 0, 1), action, 0, 1);
        }
    }

    final void act(int action, boolean on) {
        synchronized (irqs()) {
            requireOpen();
            check(irqs().act(action, index(), 0, List.of(on)), action, 0, 1);
        }
    }
}
