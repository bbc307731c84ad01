/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.arch.intx.DirectEoiDecision;
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

    // Read without a lock: an injector or a guest's EOI may look while another thread waits for it
    private volatile Optional<RelayedIrq> relay = Optional.empty();
    /** Of a line with direct EOI. */
    private volatile Optional<DirectEoi> direct;

    private final ArmedLine armed;
    /** Whether the user armed the line, and closes what he armed. */
    private final boolean ofUser;

    private volatile boolean masked;

    /**
     * @param takesOver whether another one may have the line enabled
     * @param direct gives the line direct EOI, before it is armed
     */
    ForwardedLine(
            Forwarding forwarding,
            ForwardChecks checks,
            LineIrq irq,
            Gsi gsi,
            boolean takesOver,
            Optional<DirectEoi> direct) {
        super(forwarding);
        this.vm = checks.vm();
        this.irq = irq;
        this.gsi = gsi;
        this.direct = direct;
        boolean level = irq.info().automasked();
        try (Undo undo = new Undo()) {
            event = undo.add(EventFd.create(vm.kernel()));
            resample = level ? Optional.of(undo.add(EventFd.create(vm.kernel()))) : Optional.empty();
            try {
                irqfd = Optional.of(undo.add(assigned(false)));
                if (level) {
                    checks.requirePin(gsi, irq);
                }
            } catch (KernelException e) {
                if (forwarding.userspace().isEmpty()
                        || direct.isPresent()
                        || !e.errno().equals(Errno.EINVAL)) {
                    throw e;
                }
                relay = Optional.of(undo.add(relayed(forwarding.userspace().get(), false)));
            }
            direct.ifPresent(with -> {
                with.abi().forward(irq, gsi);
                undo.add(() -> with.abi().unforward(irq));
            });
            Optional<Armed> users = irq.inTheWay();
            ofUser = users.isPresent();
            if (users.isPresent()) {
                armed = (ArmedLine) users.get();
                armed.set(event);
                undo.add(() -> TearDown.quietly(armed::detach));
            } else {
                armed = undo.add(irq.arm(event));
            }
            if (takesOver && level) {
                armed.stopUnmaskBy();
            }
            if (irqfd.isPresent() && direct.isEmpty()) {
                resample.ifPresent(armed::unmaskBy);
            }
            if (takesOver && level) {
                armed.unmask(); // its former eventfd may have the signal that masked it
            }
            undo.keep();
        }
    }

    private Irqfd assigned(boolean isMasked) {
        Optional<EventFd> notified = resample.filter(ofLevel -> direct.isEmpty());
        if (isMasked) {
            return Irqfd.masked(vm, event, notified, gsi);
        }
        return notified.isPresent() ? vm.assignLevelIrqfd(event, notified.get(), gsi) : vm.assignIrqfd(event, gsi);
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
    public Mechanism mechanism() {
        if (relay.isPresent()) {
            return Mechanism.USERSPACE;
        }
        return direct.isPresent() ? Mechanism.DIRECT_EOI : ofKernel();
    }

    @Override
    public Optional<DirectEoiDecision> directEoi() {
        return direct.map(DirectEoi::decision);
    }

    private Mechanism ofKernel() {
        return resample.isPresent() ? Mechanism.RESAMPLE : Mechanism.IRQFD;
    }

    @Override
    public boolean isMasked() {
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
        requireOpen();
        if (relay.isPresent() && relay.get() instanceof RelayedLine line) {
            line.endOfInterrupt();
        }
    }

    // Moves: the device is masked meanwhile, and unmasking it signals again if it still asserts its line

    @Override
    public synchronized void moveTo(Mechanism to) {
        requireOpen();
        if (to == mechanism()) {
            return;
        }
        if (direct.isPresent() && to == ofKernel()) {
            endDirectEoi();
        } else if (direct.isEmpty() && to == Mechanism.USERSPACE) {
            moveToUserspace();
        } else if (to == ofKernel()) {
            moveToKernel();
        } else {
            throw new UnsupportedOperationException(irq + " is a line and cannot be moved from "
                    + mechanism().label() + " to " + to.label() + ": expected "
                    + ofKernel().label()
                    + (direct.isPresent() ? "" : " or userspace"));
        }
    }

    private void moveToUserspace() {
        Userspace userspace = forwarding().userspace(irq);
        Irqfd before = irqfd.orElseThrow();
        try (Undo undo = new Undo()) {
            undo.add(this::unmaskLevelDevice);
            undo.add(() -> resume(before));
            before.mask();
            if (resample.isPresent()) {
                armed.mask();
                undo.add(() -> TearDown.quietly(() -> armed.unmaskBy(resample.get())));
                armed.stopUnmaskBy();
            }
            relay = Optional.of(relayed(userspace, masked));
            undo.keep();
        }
        before.close();
        irqfd = Optional.empty();
        tellIrqfdIsGone();
        unmaskLevelDevice();
    }

    /** An irqfd that cannot be resumed stays masked: the line holds what the device asserts, and an unmask tries again. */
    private void resume(Irqfd before) {
        if (!masked) {
            try {
                before.unmask();
            } catch (RuntimeException e) {
                masked = true;
            }
        }
    }

    /** The handler of a live line changes: from then on it masks, and the guest's EOI unmasks. */
    private void endDirectEoi() {
        Abi2014 abi = direct.orElseThrow().abi();
        Irqfd before = irqfd.orElseThrow();
        try (Undo undo = new Undo()) {
            undo.add(() -> resume(before));
            before.mask();
            Irqfd next = undo.add(Irqfd.masked(vm, event, resample, gsi));
            resample.ifPresent(armed::unmaskBy);
            undo.add(() -> TearDown.quietly(armed::stopUnmaskBy));
            if (!masked) {
                next.unmask();
            }
            irqfd = Optional.of(next);
            undo.keep();
        }
        abi.unforward(irq);
        direct = Optional.empty();
        before.close();
        tellIrqfdIsGone();
        tell(new Event.LineUnforwarded(event.id()));
        if (!masked) {
            tellIrqfdIsThere();
        }
        unmaskLevelDevice();
    }

    private void moveToKernel() {
        RelayedIrq before = relay.orElseThrow();
        try (Undo undo = new Undo()) {
            undo.add(this::unmaskLevelDevice);
            before.mask();
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
        return new Event.ConsumerAdded(
                event.id(), gsi, resample.filter(ofLevel -> direct.isEmpty()).map(EventFd::id));
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
        if (direct.isPresent()) {
            return List.of(irqfdIsThere(), device, new Event.LineForwarded(event.id()));
        }
        return irqfd.isPresent() ? List.of(irqfdIsThere(), device) : List.of(device);
    }

    @Override
    List<Event> ended() {
        return List.of(new Event.ProducerRemoved(event.id(), producer()), new Event.ConsumerRemoved(event.id(), gsi));
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
        direct.ifPresent(with -> with.abi().unforward(irq));
        relay.ifPresent(RelayedIrq::close);
        irqfd.ifPresent(Irqfd::close);
        resample.ifPresent(EventFd::close);
        event.close();
    }
}
