/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
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

/**
 * A line: INTx of a PCI device, or an interrupt of a platform device. Each signal masks a level-triggered line until the
 * guest's EOI.
 */
final class ForwardedLine extends ForwardedIrq {
    private final Vm vm;
    private final LineIrq irq;
    private final Gsi gsi;
    private final EventFd event;
    /** What the guest's EOI signals; empty for an edge. */
    private final Optional<EventFd> resample;

    /** Of these two, one is there. */
    private Optional<Irqfd> irqfd = Optional.empty();

    private Optional<RelayedIrq> relay = Optional.empty();
    private final ArmedLine armed;
    /** Whether the user armed the line, and closes what he armed. */
    private final boolean ofUser;

    private boolean masked;

    /** @param takesOver whether another one may have the line enabled */
    ForwardedLine(Forwarding forwarding, ForwardChecks checks, LineIrq irq, Gsi gsi, boolean takesOver) {
        super(forwarding);
        this.vm = checks.vm();
        this.irq = irq;
        this.gsi = gsi;
        boolean level = irq.info().automasked();
        try (Undo undo = new Undo()) {
            event = undo.add(EventFd.create(vm.kernel()));
            resample = level ? Optional.of(undo.add(EventFd.create(vm.kernel()))) : Optional.empty();
            try {
                irqfd = Optional.of(undo.add(assigned(false)));
                checks.requireRoute(gsi, irq);
            } catch (KernelException e) {
                if (forwarding.userspace().isEmpty() || !e.errno().equals(Errno.EINVAL)) {
                    throw e;
                }
                relay = Optional.of(undo.add(relayed(forwarding.userspace().get(), false)));
            }
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
            if (irqfd.isPresent()) {
                resample.ifPresent(armed::unmaskBy);
            }
            undo.keep();
        }
    }

    private Irqfd assigned(boolean isMasked) {
        if (isMasked) {
            return Irqfd.masked(vm, event, resample, gsi);
        }
        return resample.isPresent()
                ? vm.assignLevelIrqfd(event, resample.get(), gsi)
                : vm.assignIrqfd(event, gsi);
    }

    private RelayedIrq relayed(Userspace userspace, boolean isMasked) {
        return resample.isPresent()
                ? new RelayedLine(userspace, event, isMasked, gsi, this::unmaskDevice)
                : RelayedEdge.line(userspace, event, isMasked, gsi);
    }

    private void unmaskDevice() {
        TearDown.quietly(armed::unmask);
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
    public synchronized Mechanism mechanism() {
        if (relay.isPresent()) {
            return Mechanism.USERSPACE;
        }
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
            irqfd.ifPresent(Irqfd::mask);
            relay.ifPresent(RelayedIrq::mask);
            masked = true;
            tellIrqfdIsGone();
        }
    }

    @Override
    public synchronized void unmask() {
        requireOpen();
        if (masked) {
            irqfd.ifPresent(Irqfd::unmask);
            relay.ifPresent(RelayedIrq::unmask);
            masked = false;
            tellIrqfdIsThere();
        }
    }

    @Override
    public void reroute(MsiMessage message) {
        throw new UnsupportedOperationException(
                irq + " is a line and has no message: change the routes of " + gsi + " by vm.routes()");
    }

    @Override
    public void endOfInterrupt() {
        Optional<RelayedIrq> now;
        synchronized (this) {
            requireOpen();
            now = relay;
        }
        if (now.isPresent() && now.get() instanceof RelayedLine line) {
            line.endOfInterrupt();
        }
    }

    // Moves: the device is masked meanwhile, and unmasking it signals again if it still asserts its line

    @Override
    public synchronized void moveTo(Mechanism to) {
        requireOpen();
        Mechanism kernels = resample.isPresent() ? Mechanism.RESAMPLE : Mechanism.IRQFD;
        if (to == Mechanism.USERSPACE) {
            moveToUserspace();
        } else if (to == kernels) {
            moveToKernel();
        } else {
            throw new UnsupportedOperationException(irq + " is a line and cannot be moved to " + to.label()
                    + ": expected " + kernels.label() + " or userspace");
        }
    }

    private void moveToUserspace() {
        if (relay.isPresent()) {
            return;
        }
        Userspace userspace = forwarding().userspace(irq);
        Irqfd before = irqfd.orElseThrow();
        before.mask();
        if (resample.isPresent()) {
            armed.mask();
            armed.stopUnmaskBy();
        }
        try (Undo undo = new Undo()) {
            undo.add(() -> TearDown.quietly(() -> {
                resample.ifPresent(armed::unmaskBy);
                if (!masked) {
                    before.unmask();
                }
            }));
            undo.add(this::unmaskLevelDevice);
            relay = Optional.of(relayed(userspace, masked));
            undo.keep();
        }
        before.close();
        irqfd = Optional.empty();
        tellIrqfdIsGone();
        unmaskLevelDevice();
    }

    private void moveToKernel() {
        if (irqfd.isPresent()) {
            return;
        }
        RelayedIrq before = relay.orElseThrow();
        before.mask();
        try (Undo undo = new Undo()) {
            if (!masked) {
                undo.add(before::unmask);
            }
            Irqfd next = undo.add(assigned(masked));
            if (resample.isPresent()) {
                armed.unmaskBy(resample.get());
            }
            irqfd = Optional.of(next);
            undo.keep();
        }
        before.close();
        relay = Optional.empty();
        if (!masked) {
            tellIrqfdIsThere();
        }
        unmaskLevelDevice();
    }

    private void unmaskLevelDevice() {
        if (resample.isPresent()) {
            unmaskDevice();
        }
    }

    // The mirror

    private Event irqfdIsThere() {
        return new Event.ConsumerAdded(event.id(), gsi, resample.map(EventFd::id));
    }

    private void tellIrqfdIsThere() {
        if (irqfd.isPresent()) {
            tell(irqfdIsThere());
        }
    }

    private void tellIrqfdIsGone() {
        tell(new Event.ConsumerRemoved(event.id(), gsi));
    }

    @Override
    List<Event> begun() {
        Event device = new Event.ProducerAdded(event.id(), producer());
        return irqfd.isPresent() ? List.of(irqfdIsThere(), device) : List.of(device);
    }

    @Override
    List<Event> ended() {
        return List.of(
                new Event.ProducerRemoved(event.id(), producer()), new Event.ConsumerRemoved(event.id(), gsi));
    }

    // The end

    /** The device first: then no signal comes that would wait for an EOI. */
    synchronized void tearDown() {
        if (ofUser) {
            TearDown.quietly(armed::stopUnmaskBy);
            TearDown.quietly(armed::detach);
        } else {
            armed.close();
        }
        relay.ifPresent(RelayedIrq::close);
        irqfd.ifPresent(Irqfd::close);
        resample.ifPresent(EventFd::close);
        event.close();
    }
}
