/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Posting;
import io.kvmirq.vfio.MessageIrq;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A vector of MSI or MSI-X: VFIO signals an eventfd, whose irqfd raises a GSI, whose route is a message. */
final class ForwardedMessage extends ForwardedIrq {
    private final Vm vm;
    private final MessageIrq irq;
    private final EventFd event;
    /** Whether the eventfd is ours, and triggers the vector because of us. */
    private final boolean triggeredByUs;

    /** The message of the caller's route, which the GSI has again at the end. */
    private final MsiMessage first;

    private MsiMessage message;
    // Read without a lock: an injector may look while another thread waits for it
    private volatile GuestHalf half;
    private volatile boolean masked;
    private volatile Mechanism beforeMask = Mechanism.BYPASS;

    ForwardedMessage(
            Forwarding forwarding,
            Vm vm,
            MessageIrq irq,
            EventFd event,
            boolean triggeredByUs,
            MsiMessage message,
            GuestHalf half) {
        super(forwarding);
        this.vm = vm;
        this.irq = irq;
        this.event = event;
        this.triggeredByUs = triggeredByUs;
        this.first = message;
        this.message = message;
        this.half = half;
    }

    @Override
    public MessageIrq irq() {
        return irq;
    }

    @Override
    public EventFd event() {
        return event;
    }

    @Override
    public Optional<Gsi> gsi() {
        return half.gsi();
    }

    @Override
    public Mechanism mechanism() {
        if (half.isRelayed()) {
            return Mechanism.USERSPACE;
        }
        if (masked) {
            return beforeMask;
        }
        return mirrored() instanceof Posting.NotPosted ? Mechanism.IRQFD : Mechanism.BYPASS;
    }

    @Override
    public boolean isMasked() {
        return masked;
    }

    @Override
    public synchronized void mask() {
        requireOpen();
        if (!masked) {
            beforeMask = mechanism();
            holdBack();
            masked = true;
            tellIrqfdIsGone();
        }
    }

    /** The end of a vLPI drops its pending bit, which nobody can read before: it is signalled again. */
    private void holdBack() {
        boolean vlpi = vm.isArm64() && !half.isRelayed() && mirrored() instanceof Posting.Posted;
        half.mask();
        if (vlpi) {
            TearDown.quietly(event::signal);
        }
    }

    @Override
    public synchronized void unmask() {
        requireOpen();
        if (masked) {
            half.unmask();
            masked = false;
            tellIrqfdIsThere();
        }
    }

    /**
     * On x86 the route changes under the irqfd. On arm64 a changed route ends a vLPI, and only a new registration of the
     * irqfd makes one: it is deassigned meanwhile, and signals wait in the eventfd.
     */
    @Override
    public synchronized void reroute(MsiMessage to) {
        requireOpen();
        if (to.equals(message)) {
            return;
        }
        boolean registersAgain = !masked && !half.isRelayed() && vm.isArm64();
        if (registersAgain) {
            holdBack();
            tellIrqfdIsGone();
        }
        @Nullable RuntimeException failure = null;
        try {
            half.gsi().ifPresent(gsi -> {
                vm.routes().replace(gsi, to);
                tell(Event.RoutesCommitted.of(new Route.Msi(gsi, to)));
            });
            message = to;
            half.relay().ifPresent(relay -> relay.reroute(to));
        } catch (RuntimeException e) {
            failure = e;
        }
        if (registersAgain) {
            failure = resumed(failure);
        }
        if (failure != null) {
            throw failure;
        }
    }

    /** If it cannot be resumed, it is masked: no interrupt is lost, and an unmask tries again. */
    private @Nullable RuntimeException resumed(@Nullable RuntimeException cause) {
        try {
            half.unmask();
            tellIrqfdIsThere();
            return cause;
        } catch (RuntimeException e) {
            masked = true;
            if (cause == null) {
                return e;
            }
            cause.addSuppressed(e);
            return cause;
        }
    }

    // Moves: the eventfd stays, and what waits in it is taken by the next one that takes it

    @Override
    public synchronized void moveTo(Mechanism to) {
        requireOpen();
        switch (to) {
            case USERSPACE -> moveToUserspace();
            case BYPASS, IRQFD -> moveToKernel();
            case RESAMPLE, DIRECT_EOI ->
                throw new UnsupportedOperationException(irq + " is a message and cannot be moved to " + to.label()
                        + ": expected bypass, irqfd or userspace");
        }
    }

    private void moveToUserspace() {
        if (half.isRelayed()) {
            return;
        }
        Userspace userspace = forwarding().userspace(irq);
        if (!masked) {
            holdBack();
        }
        try {
            half = half.relayedBy(RelayedEdge.message(userspace, event, masked, message));
        } catch (RuntimeException e) {
            throw masked ? e : Objects.requireNonNull(resumed(e));
        }
        tellIrqfdIsGone();
    }

    private void moveToKernel() {
        Optional<RelayedEdge> relay = half.relay();
        if (relay.isEmpty()) {
            return;
        }
        relay.get().mask();
        try {
            if (half.irqfd().isEmpty()) {
                half = new GuestHalf(Optional.of(routedIrqfd()), relay, true);
            }
            if (!masked) {
                half.irqfd().ifPresent(Irqfd::unmask);
            }
        } catch (RuntimeException e) {
            throw masked ? e : Objects.requireNonNull(resumed(e));
        }
        half = GuestHalf.inKernel(half.irqfd().orElseThrow(), half.routed());
        relay.get().close();
        half.gsi().ifPresent(gsi -> tell(Event.RoutesCommitted.of(new Route.Msi(gsi, message))));
        beforeMask = Mechanism.BYPASS;
        if (!masked) {
            tellIrqfdIsThere();
        }
    }

    private Irqfd routedIrqfd() {
        try (Undo undo = new Undo()) {
            Gsi gsi = vm.routes().add(message);
            undo.add(() -> TearDown.quietly(() -> vm.routes().remove(gsi)));
            Irqfd irqfd = Irqfd.masked(vm, event, Optional.empty(), gsi);
            undo.keep();
            return irqfd;
        }
    }

    @Override
    public void endOfInterrupt() {
        throw new UnsupportedOperationException(irq + " is a message: it has no line that its end of interrupt lowers");
    }

    // The mirror

    private void tellIrqfdIsThere() {
        if (!half.isRelayed()) {
            half.gsi().ifPresent(gsi -> tell(new Event.ConsumerAdded(event.id(), gsi)));
        }
    }

    private void tellIrqfdIsGone() {
        half.gsi().ifPresent(gsi -> tell(new Event.ConsumerRemoved(event.id(), gsi)));
    }

    @Override
    List<Event> begun() {
        List<Event> events = new ArrayList<>();
        half.gsi().ifPresent(gsi -> {
            events.add(Event.RoutesCommitted.of(new Route.Msi(gsi, message)));
            events.add(new Event.ConsumerAdded(event.id(), gsi));
        });
        events.add(new Event.ProducerAdded(event.id(), producer()));
        return events;
    }

    @Override
    List<Event> ended() {
        List<Event> events = new ArrayList<>(List.of(new Event.ProducerRemoved(event.id(), producer())));
        half.gsi().ifPresent(gsi -> events.add(new Event.ConsumerRemoved(event.id(), gsi)));
        ownRoute().map(Event.RoutesCommitted::without).ifPresent(events::add);
        return events;
    }

    // The end

    boolean isTriggeredByUs() {
        return triggeredByUs;
    }

    /** The GSI, if its route goes with this. */
    Optional<Gsi> ownRoute() {
        return half.gsi().filter(gsi -> half.routed());
    }

    /** Gives the caller's GSI the caller's message again. Never fails. */
    synchronized void restoreRoute() {
        if (!half.routed() && !message.equals(first) && !vm.fd().isClosed()) {
            half.gsi().ifPresent(gsi -> TearDown.quietly(() -> vm.routes().replace(gsi, first)));
        }
    }

    GuestHalf half() {
        return half;
    }

    void closeEvent() {
        if (triggeredByUs) {
            event.close();
        }
    }
}
