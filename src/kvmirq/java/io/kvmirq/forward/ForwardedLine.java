/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.LineIrq;
import java.util.Optional;

/**
 * A forwarded line, either a PCI device's INTx or a platform device's interrupt. Without direct EOI, each signal masks
 * a level-triggered line until the guest's EOI.
 */
final class ForwardedLine extends ForwardedIrq {
    private final Vm vm;
    private final LineIrq irq;
    private final Gsi gsi;
    private final EventFd event;
    /** The eventfd that the guest's EOI signals. Empty for an edge-triggered line. */
    private final Optional<EventFd> resample;
    /** The ABI and the decision for direct EOI. Empty without it. */
    private volatile Optional<DirectEoi> direct;

    private final ArmedLine armed;
    /** Whether the user armed the line, and must close it. */
    private final boolean ofUser;

    /** If {@code takesOver} is true, the user or another program may have armed the line. */
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
            try (Undo inKernel = new Undo()) {
                Irqfd irqfd = inKernel.add(maskedIrqfd());
                irqfd.unmask();
                if (level) {
                    checks.requirePin(gsi, irq);
                }
                begin(irqfd, null, false);
                inKernel.moveTo(undo);
            } catch (KernelException e) {
                if (forwarding.userspace().isEmpty()
                        || direct.isPresent()
                        || !e.errno().equals(Errno.EINVAL)) {
                    throw e;
                }
                begin(null, undo.add(relayed(forwarding.userspace().get())), false);
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
                undo.add(() -> TearDown.quietly(armed::unwire));
            } else {
                armed = undo.add(irq.arm(event));
            }
            if (takesOver && level) {
                armed.stopUnmaskBy();
            }
            if (!isRelayed()) {
                resample().ifPresent(armed::unmaskBy);
            }
            if (takesOver && level) {
                armed.unmask(); // the signal that masked the line may be in its former eventfd
            }
            undo.keep();
        }
    }

    @Override
    Optional<EventFd> resample() {
        return direct.isPresent() ? Optional.empty() : resample;
    }

    @Override
    Irqfd maskedIrqfd() {
        return maskedIrqfd(resample());
    }

    private Irqfd maskedIrqfd(Optional<EventFd> end) {
        return end.map(resample -> vm.maskedLevelIrqfd(event, resample, gsi))
                .orElseGet(() -> vm.maskedIrqfd(event, gsi));
    }

    @Override
    RelayedIrq relayed(Userspace userspace) {
        return resample.isPresent()
                ? new RelayedLine(userspace, event, gsi, this::unmaskDevice)
                : RelayedEdge.line(userspace, event, gsi);
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
    public Optional<DirectEoiDecision> directEoi() {
        return direct.map(DirectEoi::decision);
    }

    @Override
    Mechanism inKernel() {
        return direct.isPresent() ? Mechanism.DIRECT_EOI : withoutDirectEoi();
    }

    private Mechanism withoutDirectEoi() {
        return resample.isPresent() ? Mechanism.RESAMPLE : Mechanism.IRQFD;
    }

    @Override
    public Optional<MsiMessage> message() {
        return Optional.empty();
    }

    @Override
    ForwardedMessage rerouted() {
        throw new UnsupportedOperationException(
                irq + " is a line and has no message: change the routes of " + gsi + " with vm.routes()");
    }

    @Override
    public void endOfInterrupt() {
        requireOpen();
        if (relay() instanceof RelayedLine line) {
            line.endOfInterrupt();
        }
    }

    // During a move the device is masked. The unmask makes it signal again if it still asserts its line

    @Override
    public void moveTo(Mechanism to) {
        if (isThere(to)) {
            return;
        }
        if (to == Mechanism.USERSPACE) {
            forwarding().change().moveToUserspace(this);
        } else {
            forwarding().change().moveToKernel(this);
        }
    }

    /** Whether {@code to} already delivers the interrupt. Ends direct EOI if the move needs nothing else. */
    private boolean isThere(Mechanism to) {
        synchronized (lock()) {
            requireOpen();
            if (to != mechanism() && direct.isPresent() && to == withoutDirectEoi()) {
                endDirectEoi();
            }
            if (to != mechanism() && to != withoutDirectEoi() && (direct.isPresent() || to != Mechanism.USERSPACE)) {
                throw new UnsupportedOperationException(irq + " is a line and cannot be moved from "
                        + mechanism().label() + " to " + to.label() + ": expected "
                        + withoutDirectEoi().label()
                        + (direct.isPresent() ? "" : " or userspace"));
            }
            return to == mechanism();
        }
    }

    @Override
    void leaveKernel(Undo undo) {
        resample.ifPresent(notified -> {
            armed.mask();
            undo.add(() -> TearDown.quietly(() -> armed.unmaskBy(notified)));
            armed.stopUnmaskBy();
        });
    }

    @Override
    void enterKernel() {
        resample.ifPresent(armed::unmaskBy);
    }

    @Override
    void moved() {
        if (resample.isPresent()) {
            unmaskDevice();
        }
    }

    /** Changes a live line's handler to VFIO's default one, which masks the line until the guest's EOI unmasks it. */
    private void endDirectEoi() {
        Abi2014 abi = direct.orElseThrow().abi();
        Irqfd before = assigned();
        boolean masked = isMasked();
        Irqfd next;
        try (ForwardedChange.Hold hold = new ForwardedChange.Hold(this, null);
                Undo undo = new Undo()) {
            if (!masked) {
                hold.begin();
            }
            next = undo.add(maskedIrqfd(resample));
            resample.ifPresent(armed::unmaskBy);
            undo.add(() -> TearDown.quietly(armed::stopUnmaskBy));
            if (!masked) {
                next.unmask();
            }
            undo.keep();
            hold.keep();
        }
        irqfd(next);
        abi.unforward(irq);
        direct = Optional.empty();
        before.close();
        forwarding().mirror().apply(new Event.LineUnforwarded(event.id()));
        tellDelivery();
        moved();
    }

    // The end

    /** Tears down everything but the relay, the device first, so that no later signal waits for an EOI. */
    void tearDown() {
        synchronized (lock()) {
            if (ofUser) {
                TearDown.quietly(armed::stopUnmaskBy);
                TearDown.quietly(armed::unwire);
            } else {
                armed.close();
            }
            direct.ifPresent(with -> with.abi().unforward(irq));
            Optional.ofNullable(irqfd()).ifPresent(Irqfd::close);
            resample.ifPresent(EventFd::close);
            event.close();
        }
    }
}
