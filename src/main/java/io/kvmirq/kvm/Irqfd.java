/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import java.util.Optional;

/**
 * An eventfd registered with KVM to raise a GSI. It leases its eventfds: closing one earlier takes effect when this is
 * closed. Thread-safe.
 *
 * <p>Source: {@code kvm_irqfd()} in virt/kvm/eventfd.c.
 */
public final class Irqfd implements AutoCloseable {
    private final Fd vm;
    private final EventFd event;
    private final Optional<EventFd> resample;
    private final Gsi gsi;
    private final Fd.Lease eventLease;
    private final Optional<Fd.Lease> resampleLease;

    private enum State {
        ASSIGNED,
        MASKED,
        CLOSED
    }

    private State state = State.MASKED;

    private Irqfd(Fd vm, EventFd event, Optional<EventFd> resample, Gsi gsi) {
        this.vm = vm;
        this.event = event;
        this.resample = resample;
        this.gsi = gsi;
        this.eventLease = event.fd().lease();
        try {
            this.resampleLease = resample.map(notified -> notified.fd().lease());
        } catch (RuntimeException e) {
            eventLease.close();
            throw e;
        }
    }

    static Irqfd edge(Fd vm, EventFd event, Gsi gsi) {
        return new Irqfd(vm, event, Optional.empty(), gsi).assigned();
    }

    static Irqfd level(Fd vm, EventFd event, EventFd resample, Gsi gsi) {
        if (event == resample) {
            throw new IllegalArgumentException(
                    event + " cannot be both the interrupt and its resample notification: each"
                            + " EOI would raise the next interrupt for ever; use two eventfds");
        }
        return new Irqfd(vm, event, Optional.of(resample), gsi).assigned();
    }

    private Irqfd assigned() {
        try {
            unmask();
            return this;
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    public EventFd event() {
        return event;
    }

    public Gsi gsi() {
        return gsi;
    }

    /** Holds interrupts back: signals stay in the eventfd. Masking twice is masking once. */
    public synchronized void mask() {
        requireOpen();
        deassign();
    }

    /**
     * Lets interrupts through again; one is raised now if the eventfd was signalled meanwhile.
     *
     * @throws io.kvmirq.KernelException EBUSY when the eventfd was given to another GSI meanwhile; it stays masked
     */
    public synchronized void unmask() {
        requireOpen();
        if (state == State.MASKED) {
            if (resample.isPresent()) {
                vm.kernel()
                        .calls()
                        .assignLevelIrqfd(vm, event.fd(), resample.get().fd(), gsi);
            } else {
                vm.kernel().calls().assignIrqfd(vm, event.fd(), gsi);
            }
            state = State.ASSIGNED;
        }
    }

    private void deassign() {
        if (state == State.ASSIGNED) {
            vm.kernel().calls().deassignIrqfd(vm, event.fd(), gsi);
            state = State.MASKED;
        }
    }

    private void requireOpen() {
        if (state == State.CLOSED) {
            throw new IllegalStateException(this + " is closed: assign the eventfd again");
        }
    }

    /** Deassigns: when it returns no further interrupt comes from this eventfd. Idempotent, never fails. */
    @Override
    public synchronized void close() {
        if (state == State.CLOSED) {
            return;
        }
        deassign();
        state = State.CLOSED;
        eventLease.close();
        resampleLease.ifPresent(Fd.Lease::close);
    }

    @Override
    public String toString() {
        return "irqfd " + event + " → " + gsi;
    }
}
