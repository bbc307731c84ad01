/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.DeliveryPath;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Producer;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The events that tell a mirror of a forwarded interrupt. */
final class ForwardedEvents {
    private ForwardedEvents() {}

    private static Event irqfdIsThere(ForwardedIrq irq, Gsi gsi) {
        Optional<EventFdId> notified =
                irq instanceof ForwardedLine line ? line.resample().map(EventFd::id) : Optional.empty();
        return new Event.ConsumerAdded(irq.event().id(), gsi, notified);
    }

    static Event irqfdIsGone(ForwardedIrq irq, Gsi gsi) {
        return new Event.ConsumerRemoved(irq.event().id(), gsi);
    }

    /** How it reaches the guest from now on, and whether its irqfd is assigned. */
    static List<Event> delivery(ForwardedIrq irq, DeliveryPath now) {
        List<Event> events = new ArrayList<>();
        events.add(new Event.DeliveryChanged(irq.event().id(), now));
        irq.gsi()
                .ifPresent(
                        gsi -> events.add(now == DeliveryPath.KERNEL ? irqfdIsThere(irq, gsi) : irqfdIsGone(irq, gsi)));
        return events;
    }

    /** The route of a message. */
    static List<Event> routed(ForwardedIrq irq) {
        List<Event> events = new ArrayList<>();
        if (irq instanceof ForwardedMessage one) {
            one.gsi().ifPresent(gsi -> events.add(Event.RoutesCommitted.of(new Route.Msi(gsi, one.now()))));
        }
        return events;
    }

    /** Messages that irqfds take, all or none of them masked. */
    static Event begun(MessageIrqs which, List<Irqfd> irqfds, List<MsiMessage> messages, boolean masked) {
        MessageIrq first = which.get(0);
        EventFdId[] events = new EventFdId[irqfds.size()];
        Gsi[] gsis = new Gsi[events.length];
        for (int i = 0; i < events.length; i++) {
            events[i] = irqfds.get(i).event().id();
            gsis[i] = irqfds.get(i).gsi();
        }
        return new Event.MessagesForwarded(
                first.device().name(), kind(first), first.number(), List.of(events), List.of(gsis), messages, masked);
    }

    static List<Event> begun(ForwardedIrq irq) {
        List<Event> events = routed(irq);
        if (irq.irqfd() != null && !irq.isMasked()) {
            irq.gsi().ifPresent(gsi -> events.add(irqfdIsThere(irq, gsi)));
        }
        events.add(new Event.ProducerAdded(irq.event().id(), producer(irq.irq())));
        if (irq.isMasked()) {
            events.add(new Event.DeliveryChanged(irq.event().id(), DeliveryPath.MASKED));
        } else if (irq.isRelayed()) {
            events.add(new Event.DeliveryChanged(irq.event().id(), DeliveryPath.USERSPACE));
        }
        if (!irq.isMasked()) {
            events.add(new Event.Released(producer(irq.irq())));
        }
        irq.directEoi()
                .ifPresent(decision ->
                        events.add(new Event.LineForwarded(irq.event().id())));
        return events;
    }

    static List<Event> ended(ForwardedIrq irq) {
        List<Event> events = new ArrayList<>();
        events.add(new Event.ProducerRemoved(irq.event().id(), producer(irq.irq())));
        irq.gsi().ifPresent(gsi -> events.add(irqfdIsGone(irq, gsi)));
        if (irq instanceof ForwardedMessage message) {
            message.ownRoute().map(Event.RoutesCommitted::without).ifPresent(events::add);
        }
        return events;
    }

    static Producer producer(DeviceIrq irq) {
        return new Producer(irq.device().name(), kind(irq), irq.number());
    }

    private static Producer.Kind kind(DeviceIrq irq) {
        return switch (irq.info().kind()) {
            case INTX -> Producer.Kind.INTX;
            case MSI -> Producer.Kind.MSI;
            case MSIX -> Producer.Kind.MSI_X;
            case PLATFORM -> Producer.Kind.PLATFORM;
            case ERROR, REQUEST -> throw new IllegalArgumentException(irq + " is of the host, not of a guest");
        };
    }
}
