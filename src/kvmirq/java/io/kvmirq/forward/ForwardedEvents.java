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

/** The mirror events of a forwarded interrupt. */
final class ForwardedEvents {
    private ForwardedEvents() {}

    static Event irqfdIsThere(EventFdId event, Gsi gsi, Optional<EventFd> notified) {
        return new Event.ConsumerAdded(event, gsi, notified.map(EventFd::id));
    }

    static Event irqfdIsGone(EventFdId event, Gsi gsi) {
        return new Event.ConsumerRemoved(event, gsi);
    }

    /** The events of a new delivery path, and of the irqfd's assignment or deassignment. */
    static List<Event> delivery(EventFdId event, Optional<Gsi> gsi, Optional<EventFd> notified, DeliveryPath now) {
        List<Event> events = new ArrayList<>();
        events.add(new Event.DeliveryChanged(event, now));
        gsi.ifPresent(on ->
                events.add(now == DeliveryPath.KERNEL ? irqfdIsThere(event, on, notified) : irqfdIsGone(event, on)));
        return events;
    }

    /** The event of a message's route; none for a line. */
    static List<Event> routed(Optional<Gsi> gsi, Optional<MsiMessage> message) {
        List<Event> events = new ArrayList<>();
        message.ifPresent(to -> gsi.ifPresent(on -> events.add(Event.RoutesCommitted.of(new Route.Msi(on, to)))));
        return events;
    }

    /** The event of new messages with irqfds: all are masked, or none is. */
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
