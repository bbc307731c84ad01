/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.events.Events;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HeldMessage;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Producer;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedIrq;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.HostIrqs;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A device interrupt forwarded to a guest. {@link #close} ends the forwarding, and removes the irqfd and the route that
 * it added. Device, VM and this object may be closed in any order. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="forwarded"}
 */
public abstract sealed class ForwardedIrq implements AutoCloseable permits ForwardedMessage, ForwardedLine {
    /** Whether the guest gets the interrupt. */
    private enum Phase {
        OPEN,
        /** Held back until an unmask, or until a failed change ends. */
        MASKED,
        /** Closed: new calls are refused, and the tear-down may be unfinished. */
        ENDED
    }

    private final Forwarding forwarding;
    // These are read without a lock: an injector or EOI handler may read them while a thread with the lock waits for it
    private volatile Phase phase = Phase.OPEN;
    /** The irqfd that reads the eventfd, masked while a relay injects; null if there never was one. */
    private volatile @Nullable Irqfd irqfd;
    /** The relay that reads the eventfd; null while KVM injects. A move sets the irqfd before it removes the relay. */
    private volatile @Nullable RelayedIrq relay;

    // The lock guards these
    /** Whether the mirror was sent an event for a pending message that is held back. */
    private boolean reportedHeld;
    /** Whether the mirror may hold a pending message from the end of a former forwarding. */
    private boolean mayBeHeldBefore;
    /** Whether a vLPI may have ended whose pending bit has not been signalled again. */
    private boolean owesSignal;
    /**
     * Whether signals may be pending at the end, because no irqfd read them at once or hardware delivered the
     * interrupt.
     */
    private boolean mayKeep;
    /** Whether signals were pending in the eventfd when the device was disarmed. */
    private boolean kept;
    /** Whether all parts except the relay are torn down. The lock of the {@link Forwarding} guards this. */
    private boolean tornDown;

    ForwardedIrq(Forwarding forwarding) {
        this.forwarding = forwarding;
    }

    /** Sets the reader of a new interrupt's eventfd, one of the two. A relay is held until {@link #start}. */
    final void begin(@Nullable Irqfd assigned, @Nullable RelayedIrq held, boolean masked) {
        irqfd = assigned;
        relay = held;
        if (masked) {
            if (held != null) {
                held.hold();
            }
            phase = Phase.MASKED;
            mayBeHeldBefore = true;
        }
    }

    /** Starts a relay, as the last step of forwarding. */
    final void start() {
        if (!isRelayed()) {
            return; // a relay that comes later is started by the move that made it
        }
        synchronized (lock()) {
            RelayedIrq held = relay;
            if (held != null && !isEnded()) {
                held.release();
            }
        }
    }

    final Forwarding forwarding() {
        return forwarding;
    }

    /** Guards the phases of all the device's interrupts, so that a batch changes them together. */
    final Object lock() {
        return forwarding.delivery();
    }

    final @Nullable Irqfd irqfd() {
        return irqfd;
    }

    /** Another irqfd has got the eventfd, or waits masked for a move into the kernel. */
    final void irqfd(Irqfd other) {
        irqfd = other;
    }

    /** The irqfd of an interrupt that is not relayed. */
    final Irqfd assigned() {
        return Objects.requireNonNull(irqfd, "no irqfd");
    }

    final @Nullable RelayedIrq relay() {
        return relay;
    }

    /** A relay has got the eventfd, or with null the irqfd. */
    final void relay(@Nullable RelayedIrq other) {
        relay = other;
        record(Events.Type.INTERRUPT_MOVED);
    }

    final void record(Events.Type type) {
        Object recorded = Events.begin(type);
        if (recorded != null) {
            Events.end(
                    recorded,
                    (long) ForwardCalls.number(forwarding.vm().fd()),
                    irq().device().name().toString(),
                    irq().toString(),
                    (long) ForwardCalls.number(event().fd()),
                    gsi().map(gsi -> (long) gsi.number()).orElse(-1L),
                    mechanism().label());
        }
    }

    final boolean isRelayed() {
        return relay != null;
    }

    /** The device's interrupt that is forwarded. */
    public abstract DeviceIrq irq();

    /**
     * The eventfd that the device interrupt signals, open until {@link #close}. If you read it, the guest loses
     * interrupts; if you write to it, the guest gets one.
     */
    public abstract EventFd event();

    /** The GSI that the eventfd raises; empty for a message that never had an irqfd in KVM. */
    public abstract Optional<Gsi> gsi();

    /** The mechanism that delivers the interrupt; for a masked one, after the unmask. */
    public final Mechanism mechanism() {
        return isRelayed() ? Mechanism.USERSPACE : inKernel();
    }

    abstract Mechanism inKernel();

    /** Whether KVM is known not to post the interrupt. */
    final boolean isUnposted() {
        return posting().orElse(null) instanceof Posting.NotPosted;
    }

    /** The decision that allowed direct EOI; empty for any other interrupt, and after {@link #moveTo}. */
    @NotPromised
    public Optional<DirectEoiDecision> directEoi() {
        return Optional.empty();
    }

    /**
     * Predicts, from the set-up and known host facts, whether hardware delivers the interrupt to the guest, and if not,
     * why. No kernel reports this. A masked interrupt is not posted.
     */
    public final Posting predicted() {
        return posting()
                .filter(posting -> !isEnded())
                .orElseGet(() -> new Posting.Unknown(irq() + " is not forwarded any more"));
    }

    private Optional<Posting> posting() {
        return forwarding.mirror().irq(event().id()).map(PredictedIrq::posting);
    }

    /**
     * The interrupt's current path, without its host irq: eventfd, mechanism, GSI, guest vector, vCPU, and whether
     * hardware posts it. {@link InterruptPath#known} states for each fact whether it was set up, is predicted or is
     * unknown; it also has the predicted fields of {@link io.kvmirq.path.Hop#IRTE} and of the vCPU's {@link
     * io.kvmirq.path.Hop#PID}, and the hops of {@link io.kvmirq.mirror.Snapshot}. After {@link #close} the path names
     * only the device.
     */
    public final InterruptPath path() {
        return path(Optional.empty(), "no HostIrqs was given");
    }

    /**
     * The current path as in {@link #path()}, and the host irq, which {@code host} finds, for example a {@link
     * io.kvmirq.host.HostInterrupts}.
     */
    public final InterruptPath path(HostIrqs host) {
        Objects.requireNonNull(host, "host is null");
        return path(host.of(irq()), "the host's files show no host irq of " + irq());
    }

    private InterruptPath path(Optional<HostIrq> hostIrq, String unseen) {
        synchronized (lock()) {
            Producer device = ForwardedEvents.producer(irq());
            if (isEnded()) {
                return ForwardedPath.closed(device);
            }
            return new ForwardedPath(
                            device,
                            event().id(),
                            gsi(),
                            message(),
                            mechanism(),
                            isMasked(),
                            !forwarding.vm().isArm64())
                    .of(hostIrq, unseen, forwarding.mirror().now());
        }
    }

    // The mirror

    final void tell(List<? extends Event> events) {
        if (!events.isEmpty()) {
            forwarding.mirror().apply(events);
        }
    }

    /** Tells the mirror the delivery path and, unless the interrupt is masked, that no message is held back. */
    final void tellDelivery() {
        List<Event> events = new ArrayList<>(ForwardedEvents.delivery(this));
        if (!isMasked()) {
            events.addAll(released());
        }
        tell(events);
    }

    private void tellHeld(HeldMessage message) {
        reportedHeld = true;
        tell(List.of(new Event.Held(ForwardedEvents.producer(irq()), message)));
    }

    /** The event that a message is no longer held back; none if the mirror has none. */
    private List<Event> released() {
        boolean wasHeld = reportedHeld;
        reportedHeld = false;
        return wasHeld ? List.of(new Event.Released(ForwardedEvents.producer(irq()))) : List.of();
    }

    /** The eventfd that unmasks a line at the guest's EOI; empty for a message. */
    Optional<EventFd> resample() {
        return Optional.empty();
    }

    /** The MSI message that the guest gets now; empty for a line. */
    public abstract Optional<MsiMessage> message();

    // Masks

    /** Whether the interrupt is masked by {@link #mask}. */
    public final boolean isMasked() {
        return phase == Phase.MASKED;
    }

    /**
     * Masks the interrupt until {@link #unmask}. No interrupt is lost, because all messages in the eventfd become one
     * interrupt at the unmask, and a line stays asserted by its device. No program can read whether a GICv4 vLPI was
     * pending, so a guest on an arm64 host with vLPIs may get one extra interrupt. The GSI's route stays. After the
     * call returns, the guest may still take an interrupt that was raised before it.
     *
     * <p>If this process injects the interrupt, the call waits for a running injection, as do {@link #moveTo}, {@link
     * #close} and {@link #reroute} of an unmasked interrupt. Do not call any of these while you hold a lock that the
     * injector needs: see {@link #beginMask}.
     *
     * @throws KernelException if {@link Irqfd#mask} fails; the interrupt then stays unmasked
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void mask() {
        RelayedIrq held = masked();
        if (held != null) {
            held.settle();
        }
    }

    /**
     * Masks like {@link #mask}, but does not wait for a running injection in this process. While you hold a lock that
     * the injector needs, you may call this, then {@link #reroute} and {@link #unmask}. The running injection may still
     * send the message from before the {@code reroute}, but no later one does. Call {@link #mask}, {@link #moveTo} and
     * {@link #close} without the lock, because they wait.
     */
    public final void beginMask() {
        RelayedIrq held = masked();
        if (held != null) {
            held.beginSettle();
        }
    }

    /** @return the relay that may still inject */
    final @Nullable RelayedIrq masked() {
        synchronized (lock()) {
            requireOpen();
            RelayedIrq held = relay;
            if (!isMasked()) {
                try (ForwardedChange.Hold hold = ForwardedChange.Hold.begun(this, held)) {
                    hold.keep();
                }
                stayMasked();
            }
            return held;
        }
    }

    /** Makes the mask of a held interrupt last. The lock is held. */
    final void stayMasked() {
        phase = Phase.MASKED;
        tellDelivery();
    }

    /**
     * Whether the interrupt is masked and pending, so that {@link #unmask} delivers it, like an MSI-X pending bit.
     * After {@link #close}, whether one was pending when the device was disarmed. On arm64, after a {@link #mask},
     * reroute or close, this may be true although the guest took the interrupt.
     *
     * @throws IllegalStateException on a virtual thread
     */
    public final boolean isPending() {
        synchronized (lock()) {
            return isEnded() ? kept : isMasked() && event().awaitNanos(0);
        }
    }

    /** Reads the pending signals of our eventfd, after the device's half has ended and before the eventfd closes. */
    final void keepPending() {
        synchronized (lock()) {
            kept |= mayKeep && event().drain() != 0;
            if (!kept) {
                tell(released());
            } else if (!reportedHeld) {
                tellHeld(HeldMessage.KNOWN);
            }
        }
    }

    /** Leaves pending signals in another program's eventfd when the message's forwarding ends. */
    final void leaveToOwner() {
        synchronized (lock()) {
            tell(released());
        }
    }

    /**
     * Signals the eventfd after a vLPI ended, because that drops the vLPI's pending bit, which cannot be read before.
     */
    final void holdBack() {
        owesSignal = mayBeVlpi();
        try {
            assigned().mask();
        } catch (KernelException e) {
            owesSignal = false; // a vLPI continues
            throw e;
        }
        signalAgain();
    }

    /**
     * Unmaps a possible vLPI before the device's half ends, which would drop the vLPI's pending bit. Does nothing for
     * any other interrupt, whose irqfd ends with its eventfd. Never fails.
     */
    final void holdBackAtEnd() {
        synchronized (lock()) {
            if (!isRelayed() && mayBeVlpi()) {
                mayKeep = true;
                owesSignal |= !assigned().isMasked();
                TearDown.quietly(assigned()::mask);
                signalAgain();
            }
        }
    }

    private void signalAgain() {
        if (owesSignal) {
            TearDown.quietly(event()::signal);
            record(Events.Type.SPURIOUS_INTERRUPT);
            owesSignal = false;
            tellHeld(HeldMessage.POSSIBLE);
        }
    }

    /** Whether hardware may deliver it as a vLPI: true unless a known fact rules it out. */
    boolean mayBeVlpi() {
        return false;
    }

    /**
     * Unmasks the interrupt. If pending, it is delivered at once.
     *
     * @throws KernelException EBUSY if another program assigned the eventfd to another irqfd while the interrupt was
     *     masked; otherwise as {@link Irqfd#mask}. The interrupt stays masked
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void unmask() {
        synchronized (lock()) {
            requireOpen();
            if (isMasked()) {
                resume();
            }
        }
    }

    /** Ends the mask of the interrupt. The lock is held. */
    final void resume() {
        RelayedIrq held = relay;
        if (held != null) {
            held.release();
        } else {
            assigned().unmask();
        }
        signalAgain();
        phase = Phase.OPEN;
        reportedHeld |= mayBeHeldBefore;
        mayBeHeldBefore = false;
        tellDelivery();
    }

    /**
     * Sends the interrupt to another vector or vCPU. No interrupt is lost: each arrives by the old or the new MSI
     * message. If {@code message} is the current one, no kernel call is made.
     *
     * @throws UnsupportedOperationException for a line, which has no MSI message: change its GSI's routes instead
     * @throws KernelException EINVAL if KVM refuses the message; the interrupt arrives by the old message
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void reroute(MsiMessage message) {
        Objects.requireNonNull(message, "message is null");
        forwarding.reroute(List.of(this), i -> message);
    }

    /** @throws UnsupportedOperationException for a line, which has no message */
    abstract ForwardedMessage rerouted();

    // Moves: the eventfd stays, and its next reader gets the pending signals

    /**
     * Moves the injection from the kernel into this process, or back. No interrupt is lost: undelivered signals stay in
     * the eventfd, and the new mechanism delivers them. A masked interrupt stays masked. A move to the current
     * mechanism does nothing.
     *
     * @param to {@link Mechanism#USERSPACE}, or the in-kernel mechanism: {@link Mechanism#IRQFD} for a message or an
     *     edge, {@link Mechanism#RESAMPLE} for a level-triggered line; others throw UnsupportedOperationException
     * @throws KernelException as {@link #mask} and {@link Forwarding#forward}; the mechanism stays
     * @throws IllegalStateException if {@link Forwarding.Builder#userspace} was not called, or after {@link #close}
     */
    public abstract void moveTo(Mechanism to);

    /** A new, held relay for the eventfd. */
    abstract RelayedIrq relayed(Userspace userspace);

    /** A new masked irqfd, for an interrupt that this process has injected from the start. */
    abstract Irqfd maskedIrqfd();

    /** Changes the device's half for a move into this process, while the irqfd is masked. */
    void leaveKernel(Undo undo) {}

    /** Changes the device's half for a move into the kernel, while the relay is masked. */
    void enterKernel() {}

    /** Called after a move or a failed one: the device signals again if it still asserts its interrupt. */
    void moved() {}

    /**
     * Reports the guest's EOI of a level-triggered line that this process injects. The line goes low; a device that
     * still asserts it interrupts again. The call does nothing while KVM injects the line, because KVM sees the EOI, or
     * while an injector lowers the line itself, see {@link Userspace.Injector#raiseUntilEoi}.
     *
     * @throws UnsupportedOperationException for a message
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public abstract void endOfInterrupt();

    /**
     * Signals the eventfd as the device would, by VFIO's loopback, to test the path to the guest. The device is not
     * involved. If another program armed the device with the eventfd, this writes to the eventfd instead.
     *
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void trigger() {
        requireOpen();
        Armed armed = irq().inTheWay().orElse(null);
        if (armed instanceof ArmedVectors vectors) {
            vectors.trigger(irq().number());
        } else if (armed instanceof ArmedIrq single) {
            single.trigger();
        } else {
            event().signal();
        }
    }

    // The end

    final boolean isEnded() {
        return phase == Phase.ENDED;
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
                mayKeep = isMasked() || isRelayed();
                phase = Phase.ENDED;
            }
        }
    }

    final boolean isTornDown() {
        return tornDown;
    }

    final void tornDown() {
        tornDown = true;
        record(Events.Type.FORWARDING_ENDED);
    }

    /** Closes the relay. Called without a lock. Never fails. */
    final void closeRelay() {
        RelayedIrq last = relay;
        if (last != null) {
            last.close();
        }
    }

    /**
     * Ends the forwarding. After the call returns, the guest gets no further interrupt, not even one that was held
     * back. Idempotent, never fails.
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
