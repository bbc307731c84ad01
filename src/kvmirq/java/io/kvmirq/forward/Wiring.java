/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.DeliveryPath;
import io.kvmirq.mirror.Event;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.Stream;

/**
 * Sets up and tears down the interrupts of a {@link Forwarding}, whose lock guards all methods except {@link #irqs}.
 */
final class Wiring {
    private final Forwarding owner;
    private final Triggers triggers = new Triggers();
    private final ForwardChecks checks;
    private final GuestSide guest;
    private final ForwardedIrqs<ForwardedIrq> irqs = new ForwardedIrqs<>();
    /** The numbers of the vectors that another owner wired to their eventfds. */
    private final BitSet wired = new BitSet();

    Wiring(Forwarding owner) {
        this.owner = owner;
        checks = new ForwardChecks(owner.vm(), owner.device(), triggers);
        guest = new GuestSide(checks, owner.userspace());
    }

    /** The forwarded interrupts, in the order of their numbers. */
    List<ForwardedIrq> irqs() {
        return irqs.all();
    }

    /** Vectors that are forwarded in one call. */
    record Batch(
            MessageIrqs which,
            IntFunction<MsiMessage> messages,
            Optional<List<Gsi>> gsis,
            Optional<List<EventFd>> wired,
            boolean takesOver,
            boolean masked) {}

    /**
     * Forwards a batch of vectors: first routes, then irqfds, and the device last. {@code messages} has one element for
     * each vector.
     */
    List<ForwardedIrq> vectors(Batch batch, List<MsiMessage> messages) {
        MessageIrqs which = batch.which;
        int count = which.size();
        MessageIrq first = which.get(0);
        requireForwardable(first);
        if (irqs.hasAny(first, count)) {
            which.forEach(this::requireForwardable);
        }
        irqs.requireOneKind(first);
        boolean enabledElsewhere = checks.isEnabledElsewhere(first, batch.takesOver, !wired.isEmpty());
        triggers.requireRoom(which);
        boolean routed =
                batch.gsis.map(gsis -> checks.areRouted(gsis, messages)).orElse(false);
        if (batch.gsis.isEmpty()) {
            checks.vm().routes().requireFree(count);
        }
        try (Undo undo = new Undo()) {
            List<EventFd> events = batch.wired.orElseGet(() -> guest.events(count, undo));
            GuestSide.Halves halves = guest.halves(events, messages, batch.gsis, !routed, batch.masked, undo);
            if (batch.wired.isEmpty()) {
                undo.add(() -> triggers.disarm(which));
                triggers.arm(which, events, enabledElsewhere);
            }
            List<ForwardedIrq> forwarded = new ArrayList<>(count);
            undo.add(() -> forwarded.forEach(this::forget));
            for (int i = 0; i < count; i++) {
                forwarded.add(
                        new ForwardedMessage(owner, first, i, messages.get(i), halves.half(i), routed, batch.masked));
            }
            wired.set(first.number(), first.number() + count, batch.wired.isPresent());
            irqs.add(first, forwarded);
            List<ForwardedIrq> begun = Collections.unmodifiableList(forwarded);
            owner.mirror()
                    .apply(
                            halves.relays().isEmpty()
                                    ? List.of(ForwardedEvents.begun(which, halves.irqfds(), messages, batch.masked))
                                    : begun.stream()
                                            .flatMap(irq -> begun(irq).stream())
                                            .toList());
            undo.keep();
            return begun;
        }
    }

    /** Forwards a line. */
    ForwardedIrq line(LineIrq irq, Gsi gsi, boolean takesOver, Optional<DirectEoi> direct) {
        requireForwardable(irq);
        irqs.requireOneKind(irq);
        checks.isEnabledElsewhere(irq, takesOver, false);
        if (owner.userspace().isEmpty()) {
            checks.requireRoute(gsi, irq);
        }
        try (Undo undo = new Undo()) {
            ForwardedIrq line = undo.add(new ForwardedLine(owner, checks, irq, gsi, takesOver, direct));
            irqs.add(irq, List.of(line));
            owner.mirror().apply(begun(line));
            undo.keep();
            return line;
        }
    }

    private void requireForwardable(DeviceIrq irq) {
        checks.requireOpen(irq);
        irqs.requireNew(irq);
    }

    /** Removes an interrupt from the list after it and its relay have ended. Idempotent. */
    void forget(ForwardedIrq irq) {
        if (irqs.of(irq.irq()) == irq) {
            wired.clear(irq.irq().number());
            irqs.remove(irq.irq());
        }
    }

    /**
     * Ends all parts except the relays; after an Error, the next call starts at the first step again. Routes are last,
     * because a freed GSI may be allocated at once.
     */
    void tearDown(List<? extends ForwardedIrq> ended) {
        List<ForwardedMessage> messages = new ArrayList<>();
        for (ForwardedIrq irq : ended) {
            if (irq instanceof ForwardedMessage message) {
                messages.add(message);
            } else if (irq instanceof ForwardedLine line) {
                line.tearDown();
            }
        }
        messages.forEach(ForwardedMessage::holdBackAtEnd);
        List<ForwardedMessage> ours =
                messages.stream().filter(one -> !wired.get(one.irq().number())).toList();
        triggers.disarm(ours.stream().map(ForwardedMessage::irq).toList());
        ours.forEach(one -> TearDown.quietly(one::keepPending));
        messages.stream().filter(one -> wired.get(one.irq().number())).forEach(ForwardedMessage::leaveToOwner);
        ours.forEach(one -> one.event().close()); // closing its eventfd ends an irqfd, and costs less
        Irqfd.closeAll(
                messages.stream().flatMap(one -> Stream.ofNullable(one.irqfd())).toList());
        messages.forEach(ForwardedMessage::restoreRoute);
        owner.mirror().apply(ended.stream().flatMap(irq -> ended(irq).stream()).toList());
        guest.unroute(messages.stream().flatMap(one -> one.ownRoute().stream()).toList());
        ended.forEach(ForwardedIrq::tornDown);
    }

    // Events for the mirror

    private static List<Event> begun(ForwardedIrq irq) {
        List<Event> events = ForwardedEvents.routed(irq.gsi(), irq.message());
        if (irq.irqfd() != null && !irq.isMasked()) {
            irq.gsi()
                    .ifPresent(gsi ->
                            events.add(ForwardedEvents.irqfdIsThere(irq.event().id(), gsi, irq.resample())));
        }
        events.add(new Event.ProducerAdded(irq.event().id(), ForwardedEvents.producer(irq.irq())));
        if (irq.isMasked()) {
            events.add(new Event.DeliveryChanged(irq.event().id(), DeliveryPath.MASKED));
        } else if (irq.isRelayed()) {
            events.add(new Event.DeliveryChanged(irq.event().id(), DeliveryPath.USERSPACE));
        }
        if (!irq.isMasked()) {
            events.add(new Event.Released(ForwardedEvents.producer(irq.irq())));
        }
        irq.directEoi()
                .ifPresent(decision ->
                        events.add(new Event.LineForwarded(irq.event().id())));
        return events;
    }

    private static List<Event> ended(ForwardedIrq irq) {
        List<Event> events = new ArrayList<>();
        events.add(new Event.ProducerRemoved(irq.event().id(), ForwardedEvents.producer(irq.irq())));
        irq.gsi()
                .ifPresent(gsi ->
                        events.add(ForwardedEvents.irqfdIsGone(irq.event().id(), gsi)));
        if (irq instanceof ForwardedMessage message) {
            message.ownRoute().map(Event.RoutesCommitted::without).ifPresent(events::add);
        }
        return events;
    }
}
