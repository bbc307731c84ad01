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

/** Creates the mirror events of forwarded interrupts. */
final class ForwardedEvents {
    private ForwardedEvents() {}

    /** The event for an irqfd that is closed or deassigned. Empty without a GSI. */
    static List<Event> irqfdIsGone(ForwardedIrq irq) {
        return irq.gsi().<Event>map(gsi -> new Event.ConsumerRemoved(irq.event().id(), gsi)).stream()
                .toList();
    }

    private static List<Event> irqfdIsThere(ForwardedIrq irq) {
        return irq
                .gsi()
                .<Event>map(gsi -> new Event.ConsumerAdded(
                        irq.event().id(), gsi, irq.resample().map(EventFd::id)))
                .stream()
                .toList();
    }

    private static DeliveryPath path(ForwardedIrq irq) {
        return irq.isMasked() ? DeliveryPath.MASKED : irq.isRelayed() ? DeliveryPath.USERSPACE : DeliveryPath.KERNEL;
    }

    /** The events for a new delivery path, including the irqfd's assignment or deassignment. */
    static List<Event> delivery(ForwardedIrq irq) {
        List<Event> events = new ArrayList<>();
        events.add(new Event.DeliveryChanged(irq.event().id(), path(irq)));
        events.addAll(path(irq) == DeliveryPath.KERNEL ? irqfdIsThere(irq) : irqfdIsGone(irq));
        return events;
    }

    /** The event for a message's route. Empty for a line. */
    static List<Event> routed(ForwardedIrq irq) {
        return irq
                .message()
                .flatMap(to -> irq.gsi().<Event>map(gsi -> Event.RoutesCommitted.of(new Route.Msi(gsi, to))))
                .stream()
                .toList();
    }

    /** The events for a newly forwarded interrupt. */
    static List<Event> begun(ForwardedIrq irq) {
        EventFdId event = irq.event().id();
        List<Event> events = new ArrayList<>(routed(irq));
        if (irq.irqfd() != null && !irq.isMasked()) {
            events.addAll(irqfdIsThere(irq));
        }
        events.add(new Event.ProducerAdded(event, producer(irq.irq())));
        if (path(irq) != DeliveryPath.KERNEL) {
            events.add(new Event.DeliveryChanged(event, path(irq)));
        }
        if (!irq.isMasked()) {
            events.add(new Event.Released(producer(irq.irq())));
        }
        irq.directEoi().ifPresent(decision -> events.add(new Event.LineForwarded(event)));
        return events;
    }

    /** The events for the end of an interrupt's forwarding. */
    static List<Event> ended(ForwardedIrq irq) {
        List<Event> events = new ArrayList<>();
        events.add(new Event.ProducerRemoved(irq.event().id(), producer(irq.irq())));
        events.addAll(irqfdIsGone(irq));
        if (irq instanceof ForwardedMessage message) {
            message.ownRoute().map(Event.RoutesCommitted::without).ifPresent(events::add);
        }
        return events;
    }

    /** The event for newly forwarded messages with irqfds, which are all masked or all unmasked. */
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
            case ERROR, REQUEST -> throw new IllegalArgumentException(irq + " is for the host, not for a guest");
        };
    }
}
