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
 * it added. The device, the VM and this object may be closed in any order. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="forwarded"}
 */
public abstract sealed class ForwardedIrq implements AutoCloseable permits ForwardedMessage, ForwardedLine {
    /** Whether the guest gets the interrupt. */
    private enum Phase {
        OPEN,
        /** Held back until an unmask. */
        MASKED,
        /** Closed. New calls are refused, but tear-down may still be in progress. */
        ENDED
    }

    private final Forwarding forwarding;
    // Read without the lock, because an injector or EOI handler may read them while a thread that holds the lock waits
    // for it
    private volatile Phase phase = Phase.OPEN;
    /** The irqfd that reads the eventfd. It is masked while a relay injects, and null if there never was one. */
    private volatile @Nullable Irqfd irqfd;
    /** The relay that reads the eventfd. Null while KVM injects. A move sets the irqfd before it removes the relay. */
    private volatile @Nullable RelayedIrq relay;

    // Guarded by the lock
    /** Whether the mirror records a pending message. */
    private boolean reportedHeld;
    /** Whether the mirror may still record a pending message from an earlier forwarding. */
    private boolean mayBeHeldBefore;
    /** Whether a vLPI may have been unmapped and its pending bit not yet signalled again. */
    private boolean owesSignal;
    /** Whether signals may be pending at the end, because no irqfd read them, or hardware delivered the interrupt. */
    private boolean mayKeep;
    /** Whether signals were pending in the eventfd when the device was disarmed. */
    private boolean kept;
    /** Whether all parts except the relay are torn down. The lock of the {@link Forwarding} guards this. */
    private boolean tornDown;

    ForwardedIrq(Forwarding forwarding) {
        this.forwarding = forwarding;
    }

    /** Sets the reader of a new interrupt's eventfd, an irqfd or a relay. A relay is held until {@link #start}. */
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
            return; // a move starts the relay that it creates
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

    /** Guards the phases of all interrupts of the forwarding, so that a batch changes them together. */
    final Object lock() {
        return forwarding.delivery();
    }

    final @Nullable Irqfd irqfd() {
        return irqfd;
    }

    /** Sets the irqfd, which reads the eventfd or waits masked for a move into the kernel. */
    final void irqfd(Irqfd other) {
        irqfd = other;
    }

    /** The irqfd of an interrupt that KVM injects. */
    final Irqfd assigned() {
        return Objects.requireNonNull(irqfd, "no irqfd");
    }

    final @Nullable RelayedIrq relay() {
        return relay;
    }

    /** Sets the relay that reads the eventfd, or null if the irqfd does. */
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

    /** The forwarded device interrupt. */
    public abstract DeviceIrq irq();

    /**
     * The eventfd that the device interrupt signals, open until {@link #close}. Reading it loses interrupts; writing to
     * it interrupts the guest.
     */
    public abstract EventFd event();

    /** The GSI that the eventfd raises. Empty for a message that never had an irqfd. */
    public abstract Optional<Gsi> gsi();

    /** The mechanism that delivers the interrupt, or will deliver it after the unmask. */
    public final Mechanism mechanism() {
        return isRelayed() ? Mechanism.USERSPACE : inKernel();
    }

    abstract Mechanism inKernel();

    /** Whether the mirror predicts that KVM does not post the interrupt. */
    final boolean isUnposted() {
        return posting().orElse(null) instanceof Posting.NotPosted;
    }

    /** The decision that allowed direct EOI. Empty for other interrupts, and after {@link #moveTo} ended direct EOI. */
    @NotPromised
    public Optional<DirectEoiDecision> directEoi() {
        return Optional.empty();
    }

    /**
     * Predicts whether hardware delivers the interrupt to the guest, and if not, why not. No kernel reports this, so
     * the prediction is made from the set-up and host facts. A masked interrupt is not posted.
     */
    public final Posting predicted() {
        return posting()
                .filter(posting -> !isEnded())
                .orElseGet(() -> new Posting.Unknown(irq() + " is no longer forwarded"));
    }

    private Optional<Posting> posting() {
        return forwarding.mirror().irq(event().id()).map(PredictedIrq::posting);
    }

    /**
     * The interrupt's current path: its eventfd, mechanism, GSI, guest vector and vCPU, and whether hardware posts it,
     * but not its host irq. {@link InterruptPath#known} reports for each fact whether it was set up, is predicted or is
     * unknown. It also returns the predicted fields of {@link io.kvmirq.path.Hop#IRTE} and of the vCPU's {@link
     * io.kvmirq.path.Hop#PID}, and the hops of {@link io.kvmirq.mirror.Snapshot}. After {@link #close}, the path names
     * only the device.
     */
    public final InterruptPath path() {
        return path(Optional.empty(), "no HostIrqs was given");
    }

    /** Like {@link #path()}, with the host irq from {@code host}, such as {@link io.kvmirq.host.HostInterrupts}. */
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

    /** Reports the delivery path to the mirror and, unless the interrupt is masked, that no message is held back. */
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

    /** The event that a message is no longer held back. Empty if none was reported as held. */
    private List<Event> released() {
        boolean wasHeld = reportedHeld;
        reportedHeld = false;
        return wasHeld ? List.of(new Event.Released(ForwardedEvents.producer(irq()))) : List.of();
    }

    /** The eventfd that unmasks a line at the guest's EOI. Empty for a message and with direct EOI. */
    Optional<EventFd> resample() {
        return Optional.empty();
    }

    /** The MSI message that the guest currently gets. Empty for a line. */
    public abstract Optional<MsiMessage> message();

    // Masks

    /** Whether the interrupt is masked by {@link #mask}. */
    public final boolean isMasked() {
        return phase == Phase.MASKED;
    }

    /**
     * Masks the interrupt until {@link #unmask}. No interrupt is lost: signals stay in the eventfd and become one
     * interrupt at the unmask, and a device keeps its line asserted. No program can read whether a GICv4 vLPI was
     * pending, so on an arm64 host with vLPIs the guest may get one extra interrupt. The GSI's route stays. After the
     * call returns, the guest can still take an interrupt that was raised before it.
     *
     * <p>If this process injects the interrupt, the call waits for a running injection, as do {@link #moveTo}, {@link
     * #close} and, for an unmasked interrupt, {@link #reroute}. Do not call any of these while you hold a lock that the
     * injector needs. Call {@link #beginMask} instead of this method.
     *
     * @throws KernelException if {@link Irqfd#mask} fails. The interrupt then stays unmasked
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
     * send the old message, but later ones do not. Call {@link #mask}, {@link #moveTo} and {@link #close} without the
     * lock, because they wait.
     */
    public final void beginMask() {
        RelayedIrq held = masked();
        if (held != null) {
            held.beginSettle();
        }
    }

    /** @return the relay that may still be injecting, or null */
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

    /** Marks a held interrupt as masked. The caller holds the lock. */
    final void stayMasked() {
        phase = Phase.MASKED;
        tellDelivery();
    }

    /**
     * Whether the interrupt is masked and pending, so that {@link #unmask} delivers it, like an MSI-X pending bit.
     * After {@link #close}, whether a signal was pending when the device was disarmed. On arm64, this can be true after
     * a mask, reroute or close although the guest took the interrupt.
     *
     * @throws IllegalStateException on a virtual thread
     */
    public final boolean isPending() {
        synchronized (lock()) {
            return isEnded() ? kept : isMasked() && event().awaitNanos(0);
        }
    }

    /** Drains pending signals from our eventfd, between disarming the device and closing the eventfd. */
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

    /** Leaves pending signals in another owner's eventfd when the message's forwarding ends. */
    final void leaveToOwner() {
        synchronized (lock()) {
            tell(released());
        }
    }

    /** Masks the irqfd. If this may unmap a vLPI, signals the eventfd, because the vLPI's pending bit is lost. */
    final void holdBack() {
        owesSignal = mayBeVlpi();
        try {
            assigned().mask();
        } catch (KernelException e) {
            owesSignal = false; // the vLPI stays mapped
            throw e;
        }
        signalAgain();
    }

    /**
     * Unmaps a possible vLPI and signals the eventfd, before the device is disarmed, which would drop the pending bit.
     * Does nothing for other interrupts, whose irqfd ends with its eventfd. Never fails.
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

    /** Whether hardware may deliver an arm64 message as a vLPI. True unless a known fact rules it out. */
    boolean mayBeVlpi() {
        return false;
    }

    /**
     * Unmasks the interrupt. A pending interrupt is delivered at once.
     *
     * @throws KernelException EBUSY if another program assigned the eventfd to another irqfd while the interrupt was
     *     masked, otherwise as {@link Irqfd#mask}. The interrupt stays masked
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

    /** Delivers the interrupt again. The caller holds the lock. */
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
     * Sends the interrupt to another vector or vCPU. No interrupt is lost, because each arrives by the old or the new
     * MSI message. If {@code message} is the current one, no kernel call is made.
     *
     * @throws UnsupportedOperationException for a line, which has no MSI message. Change its GSI's routes instead
     * @throws KernelException EINVAL if KVM refuses the message. Interrupts then arrive by the old message
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public final void reroute(MsiMessage message) {
        Objects.requireNonNull(message, "message is null");
        forwarding.reroute(List.of(this), i -> message);
    }

    /** @throws UnsupportedOperationException for a line, which has no message */
    abstract ForwardedMessage rerouted();

    // Moves keep the eventfd, whose next reader gets the pending signals

    /**
     * Moves injection from the kernel into this process, or back. No interrupt is lost, because undelivered signals
     * stay in the eventfd. A masked interrupt stays masked. A move to the current mechanism does nothing.
     *
     * @param to {@link Mechanism#USERSPACE}, or the in-kernel mechanism, which is {@link Mechanism#IRQFD} for a message
     *     or an edge-triggered line, and {@link Mechanism#RESAMPLE} for a level-triggered line. Other mechanisms throw
     *     UnsupportedOperationException
     * @throws KernelException as {@link #mask} and {@link Forwarding#forward}. The mechanism then stays the same
     * @throws IllegalStateException if {@link Forwarding.Builder#userspace} was not called, or after {@link #close}
     */
    public abstract void moveTo(Mechanism to);

    /** Creates a relay for the eventfd, which is held. */
    abstract RelayedIrq relayed(Userspace userspace);

    /** Creates a masked irqfd, for an interrupt that this process injected from the start. */
    abstract Irqfd maskedIrqfd();

    /** Changes the device's set-up for a move into this process, while the irqfd is masked. */
    void leaveKernel(Undo undo) {}

    /** Changes the device's set-up for a move into the kernel, while the relay is held. */
    void enterKernel() {}

    /** Called after a move, even a failed one, so that the device signals again if it still asserts its line. */
    void moved() {}

    /**
     * Reports the guest's EOI for a level-triggered line that this process injects. The line goes low, and a device
     * that still asserts it interrupts again. The call does nothing while KVM injects the line, because KVM sees the
     * EOI, or if the injector lowers the line itself as {@link Userspace.Injector#raiseUntilEoi} describes.
     *
     * @throws UnsupportedOperationException for a message
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public abstract void endOfInterrupt();

    /**
     * Signals the eventfd through VFIO's loopback, without involving the device, to test the path to the guest. If
     * another program armed the device with the eventfd, this writes to the eventfd instead.
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

    /** Ends the forwarding. Afterwards no interrupt is injected, not even a pending one. Idempotent, never fails. */
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
