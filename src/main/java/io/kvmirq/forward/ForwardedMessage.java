/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Posting;
import io.kvmirq.vfio.MessageIrq;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A vector of MSI or MSI-X: VFIO signals an eventfd, whose irqfd raises a GSI, whose route is a message. */
final class ForwardedMessage extends ForwardedIrq {
    private final Vm vm;
    private final MessageIrq irq;
    private final EventFd event;
    private final Gsi gsi;
    private final Irqfd irqfd;
    /** Whether the eventfd triggers this vector because of us, and the route is ours. */
    private final boolean triggered;

    private final boolean routed;
    private final boolean ownsEvent;
    private MsiMessage message;
    private boolean masked;
    private Mechanism beforeMask = Mechanism.BYPASS;

    /** What a message is made of. */
    record Parts(
            MessageIrq irq,
            EventFd event,
            boolean ownsEvent,
            boolean triggered,
            Gsi gsi,
            boolean routed,
            Irqfd irqfd,
            MsiMessage message) {}

    ForwardedMessage(Forwarding forwarding, Vm vm, Parts parts) {
        super(forwarding);
        this.vm = vm;
        this.irq = parts.irq;
        this.event = parts.event;
        this.ownsEvent = parts.ownsEvent;
        this.triggered = parts.triggered;
        this.gsi = parts.gsi;
        this.routed = parts.routed;
        this.irqfd = parts.irqfd;
        this.message = parts.message;
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
        return Optional.of(gsi);
    }

    @Override
    public synchronized Mechanism mechanism() {
        if (masked) {
            return beforeMask;
        }
        return predicted() instanceof Posting.NotPosted ? Mechanism.IRQFD : Mechanism.BYPASS;
    }

    @Override
    public synchronized boolean isMasked() {
        return masked;
    }

    @Override
    public synchronized void mask() {
        requireOpen();
        if (!masked) {
            beforeMask = mechanism();
            irqfd.mask();
            masked = true;
            tell(new Event.ConsumerRemoved(event.id(), gsi));
        }
    }

    @Override
    public synchronized void unmask() {
        requireOpen();
        if (masked) {
            irqfd.unmask();
            masked = false;
            tell(new Event.ConsumerAdded(event.id(), gsi));
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
        boolean registersAgain = !masked && vm.isArm64();
        if (registersAgain) {
            irqfd.mask();
            tell(new Event.ConsumerRemoved(event.id(), gsi));
        }
        try {
            vm.routes().replace(gsi, to);
            message = to;
            tell(Event.RoutesCommitted.of(new Route.Msi(gsi, to)));
        } finally {
            if (registersAgain) {
                irqfd.unmask();
                tell(new Event.ConsumerAdded(event.id(), gsi));
            }
        }
    }

    @Override
    List<Event> begun() {
        return List.of(
                Event.RoutesCommitted.of(new Route.Msi(gsi, message)),
                new Event.ConsumerAdded(event.id(), gsi),
                new Event.ProducerAdded(event.id(), producer()));
    }

    @Override
    List<Event> ended() {
        List<Event> events = new ArrayList<>(
                List.of(new Event.ProducerRemoved(event.id(), producer()), new Event.ConsumerRemoved(event.id(), gsi)));
        ownRoute().map(Event.RoutesCommitted::without).ifPresent(events::add);
        return events;
    }

    boolean isTriggeredByUs() {
        return triggered;
    }

    /** The GSI, if its route goes with this. */
    Optional<Gsi> ownRoute() {
        return routed ? Optional.of(gsi) : Optional.empty();
    }

    Irqfd irqfd() {
        return irqfd;
    }

    void closeEvent() {
        if (ownsEvent) {
            event.close();
        }
    }
}
