/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A device's armed MSI or MSI-X vectors. If a vector has no eventfd, an MSI-X message stays pending in the device, but
 * an MSI message is lost. MSI-X vectors are numbered as in the device's table. Thread-safe.
 *
 * <p>Source: {@code vfio_msi_set_block()} in drivers/vfio/pci/vfio_pci_intrs.c.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="armed"}
 */
public final class ArmedVectors extends Armed {
    /** The number of vectors that the host allocated, counted from vector 0. */
    private int enabled;

    /**
     * Detaches only the eventfds that this object attached. Vectors that another program has enabled stay enabled. Use
     * this instead of {@link #close} if another program opened the device. Idempotent, never fails.
     */
    public void closeLeavingOthers() {
        leave();
    }

    private ArmedVectors(Interrupts irqs, int index, int enabled) {
        super(irqs, index);
        this.enabled = enabled;
    }

    static ArmedVectors arm(Interrupts irqs, int index, int first, @Nullable EventFd... events) {
        ArmedVectors armed = new ArmedVectors(irqs, index, first + events.length);
        armed.enable(first, events);
        return armed;
    }

    private void require(int first, int count) {
        info().requireVectors(first, count, irqs());
        if (info().noResize() && first + count > enabled) {
            throw new IllegalStateException(named(first, count) + " of " + irqs() + " is beyond the " + enabled
                    + " vectors that are enabled, and this kernel cannot add to them: enable more at first, or call"
                    + " growLosingInterrupts");
        }
    }

    /** The number of enabled vectors, which start at vector 0. */
    public int enabled() {
        synchronized (irqs()) {
            return enabled;
        }
    }

    /**
     * Attaches an eventfd to a vector in place of its former one. If an MSI-X message is pending in the device, the
     * eventfd is signalled at once.
     *
     * @throws io.kvmirq.KernelException ENOSPC, ENOMEM if the kernel cannot add a vector that was not enabled before
     * @throws VectorsDisturbedException instead of KernelException if the vector had an eventfd before
     * @throws IllegalStateException if the vector is not enabled and the kernel cannot add vectors while others are.
     *     Use {@link #growLosingInterrupts} instead
     */
    public void set(int vector, EventFd event) {
        Objects.requireNonNull(event, "event is null");
        set(vector, List.of(event));
    }

    /** Attaches eventfds to consecutive vectors in one call. Otherwise like {@link #set(int,EventFd)}. */
    public void set(int first, List<EventFd> events) {
        Objects.requireNonNull(events, "events is null");
        synchronized (irqs()) {
            require(first, events.size());
            change(first, List.copyOf(events).toArray(EventFd[]::new));
            enabled = Math.max(enabled, first + events.size());
        }
    }

    /**
     * Detaches a vector's eventfd. The vector stays enabled.
     *
     * @throws io.kvmirq.KernelException if the kernel refuses the change. The vector then keeps its eventfd
     */
    public void unwire(int vector) {
        unwire(vector, 1);
    }

    /** Detaches the eventfds of consecutive vectors in one call. Otherwise like {@link #unwire(int)}. */
    public void unwire(int first, int count) {
        synchronized (irqs()) {
            require(first, count);
            change(first, new EventFd[count]);
        }
    }

    /**
     * Attaches eventfds to consecutive vectors on a kernel that cannot add vectors while others are enabled ({@link
     * IrqInfo#noResize}). The call disables all vectors and enables them again together with the new ones, so
     * interrupts that the device raises in between may be lost. On a kernel that can add vectors, this call is the same
     * as {@link #set(int,List)}.
     *
     * @throws VectorsDisturbedException if the host has too few vectors, or the kernel refuses them. The former vectors
     *     are armed again, if possible. The exception's cause is VectorsExhaustedException or {@link
     *     io.kvmirq.KernelException}
     */
    public void growLosingInterrupts(int first, List<EventFd> events) {
        Objects.requireNonNull(events, "events is null");
        synchronized (irqs()) {
            info().requireVectors(first, events.size(), irqs());
            int total = first + events.size();
            if (!info().noResize() || total <= enabled) {
                set(first, events);
            } else {
                replaceAll(first, List.copyOf(events).toArray(EventFd[]::new), total, enabled);
                enabled = total;
            }
        }
    }

    /** Whether a vector has an eventfd. */
    public boolean isSet(int vector) {
        synchronized (irqs()) {
            info().requireVectors(vector, 1, irqs());
            return hasEvent(vector);
        }
    }

    /** Signals the vector's eventfd as the device would. Does nothing if the vector has no eventfd. */
    public void trigger(int vector) {
        trigger(vector, 1);
    }

    /** Signals the eventfds of consecutive vectors. */
    public void trigger(int first, int count) {
        synchronized (irqs()) {
            requireOpen();
            require(first, count);
            check(irqs().act(TRIGGER, index(), first, count), TRIGGER, first, count);
        }
    }

    /** Signals the eventfd of vector {@code first + i} if {@code which[i]} is true. */
    public void triggerIf(int first, boolean... which) {
        Objects.requireNonNull(which, "which is null");
        synchronized (irqs()) {
            requireOpen();
            require(first, which.length);
            check(irqs().act(TRIGGER, index(), first, which), TRIGGER, first, which.length);
        }
    }
}
