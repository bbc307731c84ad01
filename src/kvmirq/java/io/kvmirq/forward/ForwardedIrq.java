/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.DeliveryPath;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HeldMessage;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedIrq;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.HostIrqs;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A device's interrupt that is forwarded to a guest. Closing it ends the forwarding and leaves nothing in the kernel.
 * Device, VM and this object may be closed in any order. Thread-safe.
 */
public abstract sealed class ForwardedIrq implements AutoCloseable permits ForwardedMessage, ForwardedLine {
    private final Forwarding forwarding;
    // Both are read without a lock: an injector or a guest's EOI may look while another thread waits for it
    private volatile @Nullable GuestHalf half;
    private volatile Phase phase = Phase.OPEN;
    /** Whether the mirror was told of a message that is held back. */
    private boolean toldHeld;

    ForwardedIrq(Forwarding forwarding) {
        this.forwarding = forwarding;
    }

    /** The guest's half of a new interrupt; a relay is held until {@link #start}. */
    final void begin(GuestHalf first, boolean masked) {
        half = first;
        if (masked) {
            RelayedIrq relay = first.relay();
            if (relay != null) {
                relay.hold();
            }
            phase = new Phase.Masked(true);
        }
    }

    /** The last step of forwarding: a relay injects from now on. */
    final void start() {
        if (!isRelayed()) {
            return; // a relay that comes later is started by the move that made it
        }
        synchronized (lock()) {
            RelayedIrq relay = relay();
            if (relay != null && !isEnded()) {
                relay.release();
            }
        }
    }

    final Forwarding forwarding() {
        return forwarding;
    }

    /** Guards what changes of all interrupts of the device, so that a batch changes them at once. */
    final Object lock() {
        return forwarding.delivery();
    }

    final GuestHalf half() {
        return Objects.requireNonNull(half, "neither irqfd nor relay");
    }

    /** Another irqfd or relay has taken the eventfd. */
    final void replace(GuestHalf other) {
        half = other;
    }

    final @Nullable Irqfd irqfd() {
        return half().irqfd();
    }

    /** The irqfd of an interrupt that is not relayed. */
    final Irqfd assigned() {
        return Objects.requireNonNull(irqfd(), "no irqfd");
    }

    final @Nullable RelayedIrq relay() {
        return half().relay();
    }

    final boolean isRelayed() {
        return relay() != null;
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

    /** The mechanism that delivers the interrupt now; while it is masked, the one that did before. */
    public final Mechanism mechanism() {
        return isRelayed() ? Mechanism.USERSPACE : inKernel();
    }

    abstract Mechanism inKernel();

    /** Whether KVM is known not to post the interrupt. */
    final boolean isUnposted() {
        return predicted() instanceof Posting.NotPosted;
    }

    /** The decision that allowed direct EOI; empty without direct EOI, also after {@link #moveTo} ended it. */
    @NotPromised
    public Optional<DirectEoiDecision> directEoi() {
        return Optional.empty();
    }

    /**
     * Predicts whether hardware delivers the interrupt to the guest, from its set-up and the known facts of the host;
     * if not, the answer says why. It is predicted, not observed. While the interrupt is masked, nothing posts it.
     */
    public final Posting predicted() {
        return forwarding
                .mirror()
                .irq(event().id())
                .map(PredictedIrq::posting)
                .orElseGet(() -> new Posting.Unknown(irq() + " is not forwarded any more"));
    }

    /**
     * The way of the interrupt now, without its host irq: eventfd, GSI, guest vector and vCPU, the entry field by field,
     * and the vCPU's descriptor. Each fact says whether it was set up, is predicted or is not known.
     */
    public final ForwardedPath path() {
        return path(new PathField.Unknown<>("no HostIrqs was given"));
    }

    /** As {@link #path()}, with the host irq as {@link io.kvmirq.host.HostInterrupts}, for one, finds it. */
    public final ForwardedPath path(HostIrqs host) {
        Objects.requireNonNull(host, "host is null");
        return path(host.of(irq())
                .<PathField<HostIrq>>map(PathField.Observed::new)
                .orElseGet(() -> new PathField.Unknown<>("the host's files show no host irq of " + irq())));
    }

    private ForwardedPath path(PathField<HostIrq> hostIrq) {
        synchronized (lock()) {
            ForwardedPath.Ends ends = new ForwardedPath.Ends(
                    ForwardedEvents.producer(irq()),
                    event().id(),
                    gsi(),
                    message(),
                    mechanism(),
                    isMasked(),
                    !forwarding.vm().isArm64());
            return ForwardedPath.of(hostIrq, ends, forwarding.mirror().now());
        }
    }

    // The mirror

    final void tell(List<? extends Event> events) {
        forwarding.mirror().apply(events);
    }

    /** Enters a phase and tells the mirror. */
    final void become(Phase next) {
        phase = next;
        tellDelivery();
    }

    final void tellDelivery() {
        tell(ForwardedEvents.delivery(
                event().id(), gsi(), resample(), isMasked() ? DeliveryPath.MASKED : half().path()));
    }

    private void tellHeld(HeldMessage message) {
        toldHeld = true;
        tell(List.of(new Event.Held(ForwardedEvents.producer(irq()), message)));
    }

    /** Nothing is held back any more. The lock is held. */
    final void tellReleased() {
        if (toldHeld) {
            toldHeld = false;
            tell(List.of(new Event.Released(ForwardedEvents.producer(irq()))));
        }
    }

    /** The eventfd by which the guest's EOI unmasks a line; empty for a message. */
    Optional<EventFd> resample() {
        return Optional.empty();
    }

    /** The message that the vector sends now; empty for a line. */
    public abstract Optional<MsiMessage> message();

    // Masks

    /** Whether {@link #mask} holds it back. */
    public final boolean isMasked() {
        return phase instanceof Phase.Masked;
    }

    /**
     * Holds interrupts back from the guest, until {@link #unmask}. None is lost: a message stays in the eventfd, where
     * many become one, and a line stays asserted by the device. No program can read whether a vLPI of a GICv4 was
     * pending, so the guest may get one extra interrupt on an arm64 host that may deliver it so. The route stays. After
     * this returns, no new interrupt is requested; the guest may still take an earlier one.
     *
     * <p>Where this process injects, this waits for an injection under way, as {@link #moveTo}, {@link #close} and the
     * {@link #reroute} of an unmasked interrupt do. Do not hold a lock that the injector needs: see {@link #beginMask}.
     *
     * @throws KernelException as {@link Irqfd#mask}; it arrives as before
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void mask() {
        RelayedIrq relay = masked();
        if (relay != null) {
            relay.settle();
        }
    }

    /**
     * As {@link #mask}, without waiting for an injection of this process that is under way: for a caller with a lock
     * that the injector needs, who may {@link #reroute} and {@link #unmask} then. That interrupt may still reach the
     * guest, by the old message; no other does. {@link #mask}, {@link #moveTo} and {@link #close} wait: without the lock.
     */
    public final void beginMask() {
        RelayedIrq relay = masked();
        if (relay != null) {
            relay.beginSettle();
        }
    }

    /** @return the relay that may still inject */
    final @Nullable RelayedIrq masked() {
        synchronized (lock()) {
            requireOpen();
            RelayedIrq relay = relay();
            if (!isMasked()) {
                Phase masked;
                try (Pause pause = Pause.begun(this, relay)) {
                    masked = pause.keep();
                }
                become(masked);
            }
            return relay;
        }
    }

    /**
     * Whether it is masked and an interrupt waits for {@link #unmask}: the pending bit of MSI-X. After {@link #close},
     * whether one waited when the device had been disarmed. On arm64 it may say so of an interrupt that the guest took
     * already, as {@link #mask} says: at most once for each mask, reroute or close of an interrupt that was not masked.
     *
     * @throws IllegalStateException on a virtual thread
     */
    public final boolean isPending() {
        synchronized (lock()) {
            return phase instanceof Phase.Ended ended ? ended.kept : isMasked() && event().awaitNanos(0);
        }
    }

    /** Takes what waits in our eventfd, between the end of the device's half and that of the eventfd. */
    final void keepPending() {
        synchronized (lock()) {
            Phase.Ended ended = ended();
            ended.kept |= ended.mayKeep && event().drain() != 0;
            if (!ended.kept) {
                tellReleased();
            } else if (!toldHeld) {
                tellHeld(HeldMessage.KNOWN);
            }
        }
    }

    /** At the end of a message whose eventfd is its owner's: the owner gets the signals that wait in it. */
    final void leaveToOwner() {
        synchronized (lock()) {
            tellReleased();
        }
    }

    /** The end of a vLPI drops its pending bit, which nobody can read before: it is signalled again. */
    final void holdBack(Phase.Masked masked) {
        masked.owesSignal = mayBeVlpi();
        try {
            assigned().mask();
        } catch (KernelException e) {
            masked.owesSignal = false; // the vLPI goes on, if it is one
            throw e;
        }
        signalAgain(masked);
    }

    /**
     * The first step of the end of a message that may be a vLPI: the device's half, too, would end it with its pending
     * bit. Does nothing for another, whose irqfd ends with its file. Never fails.
     */
    final void holdBackAtEnd() {
        synchronized (lock()) {
            if (half() instanceof GuestHalf.InKernel kernel && mayBeVlpi()) {
                Phase.Ended ended = ended();
                ended.mayKeep = true;
                ended.owesSignal |= !kernel.irqfd().isMasked();
                TearDown.quietly(kernel.irqfd()::mask);
                signalAgain(ended);
            }
        }
    }

    private void signalAgain(Phase.Held held) {
        if (held.owesSignal) {
            TearDown.quietly(event()::signal);
            held.owesSignal = false;
            tellHeld(HeldMessage.POSSIBLE);
        }
    }

    /** Whether hardware may deliver it as a vLPI: nobody who knows says that it does not. */
    boolean mayBeVlpi() {
        return false;
    }

    /**
     * Ends {@link #mask}. An interrupt that was held back is delivered at once.
     *
     * @throws KernelException EBUSY if another program assigned the eventfd to another irqfd during the mask, EIO and
     *     EBADF as {@link Irqfd#mask}; the interrupt stays masked
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void unmask() {
        synchronized (lock()) {
            requireOpen();
            if (phase instanceof Phase.Masked masked) {
                resume(masked);
            }
        }
    }

    /** Lets the interrupt through again. The lock is held. */
    final void resume(Phase.Masked masked) {
        RelayedIrq relay = relay();
        if (relay != null) {
            relay.release();
        } else {
            assigned().unmask();
        }
        signalAgain(masked);
        become(Phase.OPEN);
        toldHeld |= masked.mayBeHeldBefore;
        tellReleased();
    }

    /**
     * Sends the interrupt to another vector or vCPU from now on. None is lost: it arrives by the old message or by the
     * new one. The same message again makes no call.
     *
     * @throws UnsupportedOperationException for a line, which has a pin: change the routes of its GSI
     * @throws KernelException EINVAL if KVM refuses the message; it arrives as before
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void reroute(MsiMessage message) {
        Objects.requireNonNull(message, "message is null");
        forwarding.reroute(List.of(this), i -> message);
    }

    /** @throws UnsupportedOperationException for a line, which has no message */
    abstract ForwardedMessage rerouted();

    // Moves: the eventfd stays, and the next taker of the eventfd gets what waits in it

    /**
     * Changes how the interrupt reaches the guest: from the kernel into this process, or back. None is lost: signals
     * that were not delivered stay in the eventfd, and the new mechanism delivers them. A masked interrupt stays
     * masked. A move to the current mechanism does nothing.
     *
     * @param to {@link Mechanism#USERSPACE}, or the mechanism in the kernel: {@link Mechanism#IRQFD} for a message or
     *     an edge, {@link Mechanism#RESAMPLE} for another line; UnsupportedOperationException for any other
     * @throws KernelException as {@link #mask} and {@link Forwarding#forward}; the interrupt arrives as before
     * @throws IllegalStateException without {@link Forwarding.Builder#userspace}; after {@link #close}
     */
    public abstract void moveTo(Mechanism to);

    /** A relay of this process for the eventfd, held. */
    abstract RelayedIrq relayed(Userspace userspace);

    /** An irqfd for an interrupt that began in this process, masked. */
    abstract Irqfd maskedIrqfd();

    /** The device's half of a move to this process, while the irqfd is masked. */
    void leaveKernel(Undo undo) {}

    /** The device's half of a move into the kernel, while the relay is masked. */
    void enterKernel() {}

    /** After a move, or an attempt: the device signals again if it still asserts its interrupt. */
    void moved() {}

    /**
     * The guest ended a level-triggered line that this process injects: the line goes low, and a device that still
     * asserts its own interrupts again. In the kernel KVM sees it, and this does nothing.
     *
     * @throws UnsupportedOperationException for a message
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public abstract void endOfInterrupt();

    /**
     * Signals the eventfd as the device would, by VFIO's loopback, to test the way to the guest; the device itself does
     * nothing. If another program wired the eventfd to the device, this signals the eventfd without VFIO.
     *
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void trigger() {
        requireOpen();
        Armed armed = irq().inTheWay().orElse(null);
        if (armed instanceof ArmedVectors vectors) {
            vectors.trigger(irq().number());
        } else if (armed instanceof ArmedIrq one) {
            one.trigger();
        } else {
            event().signal();
        }
    }

    // The end

    final boolean isEnded() {
        return phase instanceof Phase.Ended;
    }

    private Phase.Ended ended() {
        return (Phase.Ended) phase;
    }

    final void requireOpen() {
        if (isEnded()) {
            throw new ClosedHandleException("the forwarding of " + irq());
        }
    }

    /** Refuses new work. */
    final void end() {
        synchronized (lock()) {
            if (!isEnded()) {
                phase = new Phase.Ended(phase, isMasked() || isRelayed());
            }
        }
    }

    final boolean isTornDown() {
        return ended().tornDown;
    }

    final void tornDown() {
        ended().tornDown = true;
    }

    /** Ends the relay, without a lock. Never fails. */
    final void closeRelay() {
        RelayedIrq relay = relay();
        if (relay != null) {
            relay.close();
        }
    }

    /**
     * Ends the forwarding of this interrupt. After it returns the guest gets no interrupt of it, not even one that was
     * held back. Idempotent, never fails.
     */
    @Override
    public final void close() {
        forwarding.unforward(List.of(this));
    }

    @Override
    public final String toString() {
        return irq() + " → " + gsi().map(Gsi::toString).orElse("user space") + " ("
                + mechanism().label() + ")";
    }
}
