/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.LineIrq;
import java.util.List;
import java.util.Optional;

/** A line: INTx of a PCI device, or an interrupt of a platform device. Each signal masks a level-triggered line until the guest's EOI. */
final class ForwardedLine extends ForwardedIrq {
    private final LineIrq irq;
    private final EventFd event;
    /** What the guest's EOI signals; empty for an edge. */
    private final Optional<EventFd> resample;

    private final Gsi gsi;
    private final Irqfd irqfd;
    private final ArmedLine armed;
    /** Whether the user armed the line, and closes what he armed. */
    private final boolean ofUser;

    private boolean masked;

    /** @param takesOver whether another one may have the line enabled */
    ForwardedLine(Forwarding forwarding, Vm vm, LineIrq irq, Gsi gsi, boolean takesOver) {
        super(forwarding);
        this.irq = irq;
        this.gsi = gsi;
        boolean level = irq.info().automasked();
        try (Undo undo = new Undo()) {
            event = undo.add(EventFd.create(vm.kernel()));
            resample = level ? Optional.of(undo.add(EventFd.create(vm.kernel()))) : Optional.empty();
            irqfd = undo.add(level ? vm.assignLevelIrqfd(event, resample.get(), gsi) : vm.assignIrqfd(event, gsi));
            Optional<Armed> users = irq.inTheWay();
            ofUser = users.isPresent();
            if (users.isPresent()) {
                armed = (ArmedLine) users.get();
                armed.set(event);
            } else {
                armed = undo.add(irq.arm(event));
            }
            if (takesOver && level) {
                armed.stopUnmaskBy();
            }
            resample.ifPresent(armed::unmaskBy);
            undo.keep();
        }
    }

    @Override
    public LineIrq irq() {
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
    public Mechanism mechanism() {
        return resample.isPresent() ? Mechanism.RESAMPLE : Mechanism.IRQFD;
    }

    @Override
    public synchronized boolean isMasked() {
        return masked;
    }

    /** Deassigning signals the resample eventfd, so that a device that still asserts its line signals again. */
    @Override
    public synchronized void mask() {
        requireOpen();
        if (!masked) {
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
            tell(new Event.ConsumerAdded(event.id(), gsi, resample.map(EventFd::id)));
        }
    }

    @Override
    public void reroute(MsiMessage message) {
        throw new UnsupportedOperationException(
                irq + " is a line and has no message: change the routes of " + gsi + " by vm.routes()");
    }

    @Override
    List<Event> begun() {
        return List.of(
                new Event.ConsumerAdded(event.id(), gsi, resample.map(EventFd::id)),
                new Event.ProducerAdded(event.id(), producer()));
    }

    @Override
    List<Event> ended() {
        return List.of(new Event.ProducerRemoved(event.id(), producer()), new Event.ConsumerRemoved(event.id(), gsi));
    }

    /** The device first: then no signal comes that would wait for an EOI. */
    void tearDown() {
        if (ofUser) {
            TearDown.quietly(armed::stopUnmaskBy);
            TearDown.quietly(armed::detach);
        } else {
            armed.close();
        }
        irqfd.close();
        resample.ifPresent(EventFd::close);
        event.close();
    }
}
