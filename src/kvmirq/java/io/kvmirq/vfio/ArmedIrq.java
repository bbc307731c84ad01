/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.Objects;

/**
 * One armed device interrupt, whose eventfd the kernel signals. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="notices"}
 */
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
     * Replaces the interrupt's eventfd. A masked line stays masked, except after {@link #unwire}, because an interrupt
     * may meanwhile have masked the line without signalling an eventfd.
     *
     * @throws VectorsDisturbedException if the kernel refuses {@code event}. The former eventfd stays if {@code lost()}
     *     is empty
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
     * Detaches the eventfd. {@link #set} attaches another one. Until then, {@link #trigger} and unmasking the line
     * throw IllegalStateException, because kernels without the fixes for CVE-2024-26812 and CVE-2024-26813 would
     * dereference a null pointer. Signals of the eventfds that mask or unmask the line take effect only after {@link
     * #set}.
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

    /** Rejects an eventfd that masks or unmasks this interrupt. */
    void requireApart(EventFd event) {}

    /** Detaches the mask and unmask eventfds while the interrupt has no eventfd to signal. */
    void suspend() {}

    void resume() {}

    /**
     * Signals the eventfd as the device would, even if a PCI device's line is masked. For a platform device, the kernel
     * runs the interrupt handler, which masks a level-triggered interrupt, and does not signal a masked one.
     *
     * @throws IllegalStateException after {@link #unwire}, until {@link #set}
     */
    public final void trigger() {
        synchronized (irqs()) {
            requireEvent();
            act(TRIGGER);
        }
    }

    /** Calls {@link #trigger} if {@code on} is true. */
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
