/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Producer;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedIrq;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.DeviceIrq;
import java.util.List;
import java.util.Optional;

/**
 * An interrupt of a device that is forwarded to a guest. Closing it ends that: nothing of it is left in the kernel, in
 * whatever order device, VM and this are closed. Thread-safe.
 */
public abstract sealed class ForwardedIrq implements AutoCloseable permits ForwardedMessage, ForwardedLine {
    private final Forwarding forwarding;
    private volatile boolean closed;

    ForwardedIrq(Forwarding forwarding) {
        this.forwarding = forwarding;
    }

    final Forwarding forwarding() {
        return forwarding;
    }

    /** The interrupt of the device. */
    public abstract DeviceIrq irq();

    /**
     * The eventfd that the device's interrupt signals. It is lent: who reads it takes interrupts from the guest, who
     * signals it raises one.
     */
    public abstract EventFd event();

    /** The GSI; empty for a message that this process injects and that never was in the kernel. */
    public abstract Optional<Gsi> gsi();

    /** How the interrupt reaches the guest now; while it is masked, how it did before. */
    public abstract Mechanism mechanism();

    /**
     * The decision that allowed direct EOI: the reasons that an assertion outweighs, and what breaks. Empty for an interrupt
     * without direct EOI, also after {@link #moveTo} ended it.
     */
    public Optional<DirectEoiDecision> directEoi() {
        return Optional.empty();
    }

    /**
     * Whether hardware delivers the interrupt to the guest, by what was set up and what is known of the host; and if not,
     * why. It is predicted, not observed. While the interrupt is masked, nothing posts it.
     */
    public final Posting predicted() {
        if (irq().device().fd().isClosed()) {
            return new Posting.NotPosted(irq().device().name() + " is closed", "open it again, and forward it again");
        }
        if (isMasked()) {
            return new Posting.NotPosted("it is masked", "unmask it");
        }
        if (mechanism() == Mechanism.USERSPACE) {
            return new Posting.NotPosted("this process injects it", "move it to bypass");
        }
        return mirrored();
    }

    /** What the mirror says. */
    final Posting mirrored() {
        return forwarding
                .mirror()
                .now()
                .of(event().id())
                .map(PredictedIrq::posting)
                .orElseGet(() -> new Posting.Unknown(irq() + " is not forwarded any more"));
    }

    /** The events that tell a mirror of this when it begins. */
    abstract List<Event> begun();

    /** The events that tell a mirror of its end. */
    abstract List<Event> ended();

    /** The irqfd comes or goes while the device's half stays. */
    final void tell(Event event) {
        forwarding.mirror().apply(event);
    }

    final Producer producer() {
        DeviceIrq irq = irq();
        Producer.Kind kind =
                switch (irq.info().kind()) {
                    case INTX -> Producer.Kind.INTX;
                    case MSI -> Producer.Kind.MSI;
                    case MSIX -> Producer.Kind.MSI_X;
                    case PLATFORM -> Producer.Kind.PLATFORM;
                    case ERROR, REQUEST -> throw new IllegalArgumentException(irq + " is of the host, not of a guest");
                };
        return new Producer(irq.device().name(), kind, irq.number());
    }

    /** Whether {@link #mask} holds it back. */
    public abstract boolean isMasked();

    /**
     * Holds interrupts back from the guest, until {@link #unmask}. None is lost: a message stays in the eventfd, where many
     * become one, and a line stays asserted by the device. On GICv4, which tells no one whether a vLPI was pending, the guest
     * may get one interrupt more. The route stays. When this returns, the guest gets no more.
     * Masking twice is masking once.
     *
     * @throws IllegalStateException after {@link #close}
     */
    public abstract void mask();

    /**
     * Lets interrupts through again; at once, if there was one meanwhile.
     *
     * @throws io.kvmirq.KernelException EBUSY if another program gave the eventfd to another irqfd meanwhile; it stays
     *     masked
     * @throws IllegalStateException after {@link #close}
     */
    public abstract void unmask();

    /**
     * Sends the interrupt to another vector or vCPU from now on. No interrupt is lost: it arrives by the old message or by
     * the new one. The same message again makes no call.
     *
     * @throws UnsupportedOperationException for a line, which has a pin: change the routes of its GSI
     * @throws io.kvmirq.KernelException EINVAL if KVM refuses the message; it arrives as before
     * @throws IllegalStateException after {@link #close}
     */
    public abstract void reroute(MsiMessage message);

    /**
     * Changes how the interrupt reaches the guest: from the kernel into this process, or back. No interrupt is lost: what was
     * signalled and not delivered stays in the eventfd, and is delivered by the other one. A mask stays. To where it is
     * already, nothing happens.
     *
     * @param to for a message {@link Mechanism#USERSPACE}, or {@link Mechanism#BYPASS} and {@link Mechanism#IRQFD}, which are
     *     one; for a line {@link Mechanism#USERSPACE} or {@link Mechanism#RESAMPLE} (an edge: IRQFD)
     * @throws UnsupportedOperationException for another one
     * @throws io.kvmirq.KernelException as {@link Forwarding#forward}; the interrupt arrives as before
     * @throws IllegalStateException without {@link Forwarding.Builder#userspace}; after {@link #close}
     */
    public abstract void moveTo(Mechanism to);

    /**
     * Tells a level-triggered line that is injected by this process of the guest's end of interrupt: the line goes low, and a
     * device that still asserts its own interrupts again. In the kernel KVM sees it, and this does nothing.
     *
     * @throws UnsupportedOperationException for a message
     * @throws IllegalStateException after {@link #close}
     */
    public abstract void endOfInterrupt();

    /**
     * Signals the eventfd as the device would, by VFIO's loopback, to test the way to the guest; the device itself does
     * nothing. Where another program wired the eventfd to the device, the eventfd alone is signalled.
     *
     * @throws IllegalStateException after {@link #close}
     */
    public final void trigger() {
        requireOpen();
        Optional<Armed> armed = irq().inTheWay();
        if (armed.isEmpty()) {
            event().signal();
        } else if (armed.get() instanceof ArmedVectors vectors) {
            vectors.trigger(irq().number());
        } else if (armed.get() instanceof ArmedIrq one) {
            one.trigger();
        }
    }

    final void requireOpen() {
        if (closed) {
            throw new IllegalStateException(irq() + " is not forwarded any more: forward it again");
        }
    }

    /** @return false if it was closed before */
    final synchronized boolean end() {
        boolean first = !closed;
        closed = true;
        return first;
    }

    /**
     * Ends the forwarding of this interrupt: when it returns the guest gets no more, also of what was held back. Idempotent,
     * never fails.
     */
    @Override
    public final void close() {
        forwarding.unforward(this);
    }

    @Override
    public final String toString() {
        return irq() + " → " + gsi().map(Gsi::toString).orElse("user space") + " ("
                + mechanism().label() + ")";
    }
}
