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
import java.util.Optional;

/** A vector of MSI or MSI-X: VFIO signals an eventfd, whose irqfd raises a GSI, whose route is a message. */
final class ForwardedMessage extends ForwardedIrq {
    private final Vm vm;
    private final MessageIrq irq;
    private final EventFd event;
    /** Whether the eventfd is ours, and triggers the vector because of us. */
    private final boolean triggeredByUs;

    private MsiMessage message;
    private GuestHalf half;
    private boolean masked;
    private Mechanism beforeMask = Mechanism.BYPASS;

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
    public synchronized Optional<Gsi> gsi() {
        return half.gsi();
    }

    @Override
    public synchronized Mechanism mechanism() {
        if (half.relay().isPresent()) {
            return Mechanism.USERSPACE;
        }
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
            half.mask();
            masked = true;
            tellIrqfdIsGone();
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
        boolean registersAgain = !masked && half.irqfd().isPresent() && vm.isArm64();
        if (registersAgain) {
            half.mask();
            tellIrqfdIsGone();
        }
        try {
            half.gsi().ifPresent(gsi -> {
                vm.routes().replace(gsi, to);
                tell(Event.RoutesCommitted.of(new Route.Msi(gsi, to)));
            });
            half.relay().ifPresent(relay -> relay.reroute(to));
            message = to;
        } finally {
            if (registersAgain) {
                half.unmask();
                tellIrqfdIsThere();
            }
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
        Optional<Irqfd> irqfd = half.irqfd();
        if (irqfd.isEmpty()) {
            return;
        }
        Userspace userspace = forwarding().userspace(irq);
        irqfd.get().mask();
        try (Undo undo = new Undo()) {
            if (!masked) {
                undo.add(irqfd.get()::unmask);
            }
            half = half.movedTo(RelayedEdge.message(userspace, event, masked, message));
            undo.keep();
        }
        irqfd.get().close();
        tellIrqfdIsGone();
    }

    private void moveToKernel() {
        Optional<RelayedEdge> relay = half.relay();
        if (relay.isEmpty()) {
            return;
        }
        relay.get().mask();
        try (Undo undo = new Undo()) {
            if (!masked) {
                undo.add(relay.get()::unmask);
            }
            Gsi gsi = half.gsi().orElseGet(() -> {
                Gsi made = vm.routes().add(message);
                undo.add(() -> TearDown.quietly(() -> vm.routes().remove(made)));
                return made;
            });
            Irqfd irqfd = masked ? Irqfd.masked(vm, event, Optional.empty(), gsi) : vm.assignIrqfd(event, gsi);
            half = GuestHalf.inKernel(irqfd, half.gsi().isEmpty() || half.routed());
            undo.keep();
        }
        relay.get().close();
        half.gsi().ifPresent(gsi -> tell(Event.RoutesCommitted.of(new Route.Msi(gsi, message))));
        beforeMask = Mechanism.BYPASS;
        if (!masked) {
            tellIrqfdIsThere();
        }
    }

    @Override
    public void endOfInterrupt() {
        throw new UnsupportedOperationException(irq + " is a message: it has no line that its end of interrupt lowers");
    }

    // The mirror

    private void tellIrqfdIsThere() {
        half.irqfd().ifPresent(irqfd -> tell(new Event.ConsumerAdded(event.id(), irqfd.gsi())));
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
    synchronized List<Event> ended() {
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
    synchronized Optional<Gsi> ownRoute() {
        return half.gsi().filter(gsi -> half.routed());
    }

    synchronized GuestHalf half() {
        return half;
    }

    void closeEvent() {
        if (triggeredByUs) {
            event.close();
        }
    }
}
