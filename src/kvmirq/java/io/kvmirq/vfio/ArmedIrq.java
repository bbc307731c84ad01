/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.Objects;

/** One interrupt of a device, with an eventfd. Thread-safe. */
public sealed class ArmedIrq extends Armed permits ArmedLine {
    ArmedIrq(Interrupts irqs, int index) {
        super(irqs, index);
    }

    static ArmedIrq arm(Interrupts irqs, int index, EventFd event) {
        ArmedIrq armed = new ArmedIrq(irqs, index);
        armed.enable(0, event);
        return armed;
    }

    /**
     * Gives it another eventfd. A line keeps its mask, except after {@link #unwire}: then it is unmasked, because an
     * interrupt may have masked it and signalled nothing.
     *
     * @throws VectorsDisturbedException if the kernel refuses; it has its former eventfd again
     */
    public final void set(EventFd event) {
        Objects.requireNonNull(event, "event is null");
        synchronized (irqs()) {
            requireOpen();
            requireApart(event);
            boolean unwired = !hasEvent(0);
            try {
                change(0, event);
            } catch (VectorsDisturbedException e) {
                if (!hasEvent(0)) {
                    suspend();
                }
                throw e;
            }
            if (unwired) {
                resume();
            }
        }
    }

    /**
     * Detaches its eventfd; {@link #set} attaches another one. Until then calls that could signal it are refused:
     * kernels before the fixes of CVE-2024-26812 and CVE-2024-26813 use the eventfd that is not there. Eventfds that
     * mask and unmask a line wait until then.
     */
    public final void unwire() {
        synchronized (irqs()) {
            requireOpen();
            suspend();
            try {
                change(0, new EventFd[1]);
            } finally {
                if (hasEvent(0)) {
                    resume();
                }
            }
        }
    }

    /** Refuses an eventfd that acts on this interrupt. */
    void requireApart(EventFd event) {}

    /** While it has no eventfd, no other one may act on it. */
    void suspend() {}

    void resume() {}

    /**
     * Signals its eventfd as the device would, also that of a masked PCI line. The interrupt of a platform device runs
     * its handler: a level-triggered one is masked, and signals only if it was not.
     *
     * @throws IllegalStateException after {@link #unwire}
     */
    public final void trigger() {
        synchronized (irqs()) {
            requireEvent();
            act(TRIGGER);
        }
    }

    /** {@link #trigger} for true; nothing for false. */
    public final void triggerIf(boolean on) {
        synchronized (irqs()) {
            requireEvent();
            act(TRIGGER, on);
        }
    }

    final void requireEvent() {
        requireOpen();
        if (!hasEvent(0)) {
            throw new IllegalStateException(this + " has no eventfd: call set first");
        }
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
            check(irqs().act(action, index(), 0, on), action, 0, 1);
        }
    }
}
