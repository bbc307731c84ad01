/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.MessageIrq;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * An MSI or MSI-X vector. VFIO signals an eventfd, whose irqfd raises a GSI, which is routed to a message. A VM can
 * have thousands of vectors, so no field duplicates a value that another object has. The forwarding's list publishes
 * this object to other threads.
 */
final class ForwardedMessage extends ForwardedIrq {
    private final IrqKind kind;
    private final int number;
    private volatile MsiMessage message;
    /** The caller's message, restored in the route when the forwarding ends. Null if the route is removed instead. */
    private final @Nullable MsiMessage callers;

    /**
     * {@code first} is the batch's first vector. {@code isRouted} is true if the caller had routed the GSI to the
     * message.
     */
    ForwardedMessage(
            Forwarding forwarding,
            MessageIrq first,
            int place,
            MsiMessage message,
            @Nullable Irqfd irqfd,
            @Nullable RelayedIrq relay,
            boolean isRouted,
            boolean masked) {
        super(forwarding);
        begin(irqfd, relay, masked);
        this.kind = first.info().kind();
        this.number = first.number() + place;
        this.message = message;
        this.callers = isRouted ? message : null;
    }

    MsiMessage now() {
        return message;
    }

    @Override
    public Optional<MsiMessage> message() {
        return Optional.of(message);
    }

    private Vm vm() {
        return forwarding().vm();
    }

    @Override
    public MessageIrq irq() {
        return kind == IrqKind.MSI
                ? forwarding().device().msi(number, 1).get(0)
                : forwarding().device().msix(number, 1).get(0);
    }

    @Override
    public EventFd event() {
        RelayedIrq relay = relay(); // read first, because a move sets the irqfd before it removes the relay
        Irqfd irqfd = irqfd();
        return irqfd != null ? irqfd.event() : Objects.requireNonNull(relay).event();
    }

    @Override
    public Optional<Gsi> gsi() {
        return Optional.ofNullable(irqfd()).map(Irqfd::gsi);
    }

    @Override
    boolean mayBeVlpi() {
        return vm().isArm64() && !isUnposted();
    }

    @Override
    Mechanism inKernel() {
        return Mechanism.IRQFD;
    }

    @Override
    ForwardedMessage rerouted() {
        return this;
    }

    /** Stores the route's new message. The caller holds the lock. */
    void become(MsiMessage to) {
        message = to;
        if (relay() instanceof RelayedEdge edge) {
            edge.reroute(to);
        }
    }

    // Moves

    @Override
    public void moveTo(Mechanism to) {
        requireOpen();
        if (to == Mechanism.USERSPACE) {
            forwarding().change().moveToUserspace(this);
        } else if (to == Mechanism.IRQFD) {
            forwarding().change().moveToKernel(this);
        } else {
            throw new UnsupportedOperationException(
                    irq() + " is a message and cannot be moved to " + to.label() + ": expected irqfd or userspace");
        }
    }

    @Override
    RelayedIrq relayed(Userspace userspace) {
        return RelayedEdge.message(userspace, event(), message);
    }

    @Override
    Irqfd maskedIrqfd() {
        try (Undo undo = new Undo()) {
            RouteTable routes = vm().routes();
            Gsi gsi = routes.add(message);
            undo.add(() -> TearDown.quietly(() -> routes.remove(gsi)));
            Irqfd irqfd = vm().maskedIrqfd(event(), gsi);
            undo.keep();
            return irqfd;
        }
    }

    @Override
    public void endOfInterrupt() {
        throw new UnsupportedOperationException(irq() + " is a message, so it has no line that an EOI lowers");
    }

    // The end

    /** The GSI if its route is removed when the forwarding ends. */
    Optional<Gsi> ownRoute() {
        return callers == null ? gsi() : Optional.empty();
    }

    /** Restores the caller's message in its GSI's route. Never fails. */
    void restoreRoute() {
        synchronized (lock()) {
            MsiMessage before = callers;
            if (before != null && !message.equals(before) && !vm().fd().isClosed()) {
                gsi().ifPresent(gsi -> TearDown.quietly(() -> vm().routes().replace(gsi, before)));
            }
        }
    }
}
