/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Undo;
import java.util.Optional;

/**
 * An eventfd registered with KVM to raise a GSI. It leases the VM and its eventfds: closing one of them earlier takes
 * effect when this is closed. While it is open, {@link RouteTable} does not allocate its GSI. Thread-safe.
 *
 * <p>Source: {@code kvm_irqfd()} in virt/kvm/eventfd.c.
 */
public final class Irqfd implements AutoCloseable {
    private final Vm vm;
    private final EventFd event;
    private final Optional<EventFd> resample;
    private final Gsi gsi;
    private final Fd.Lease vmLease;
    private final Fd.Lease eventLease;
    private final Optional<Fd.Lease> resampleLease;

    private enum State {
        ASSIGNED,
        MASKED,
        CLOSED
    }

    private State state = State.MASKED;

    private Irqfd(Vm vm, EventFd event, Optional<EventFd> resample, Gsi gsi, boolean masked) {
        this.vm = vm;
        this.event = event;
        this.resample = resample;
        this.gsi = gsi;
        try (Undo undo = new Undo()) {
            vm.routes().hold(gsi);
            undo.add(() -> vm.routes().release(gsi));
            this.vmLease = undo.add(vm.fd().lease());
            this.eventLease = undo.add(event.fd().lease());
            this.resampleLease = resample.map(notified -> undo.add(notified.fd().lease()));
            if (!masked) {
                unmask();
            }
            undo.keep();
        }
    }

    static Irqfd edge(Vm vm, EventFd event, Gsi gsi) {
        return new Irqfd(vm, event, Optional.empty(), gsi, false);
    }

    static Irqfd level(Vm vm, EventFd event, EventFd resample, Gsi gsi) {
        requireApart(event, resample);
        return new Irqfd(vm, event, Optional.of(resample), gsi, false);
    }

    /**
     * An irqfd that is masked from its beginning: KVM does not know of it before {@link #unmask}. What was signalled before
     * stays in the eventfd until then.
     *
     * @param resample for a level interrupt, as {@link Vm#assignLevelIrqfd}
     */
    public static Irqfd masked(Vm vm, EventFd event, Optional<EventFd> resample, Gsi gsi) {
        resample.ifPresent(notified -> requireApart(event, notified));
        return new Irqfd(vm, event, resample, gsi, true);
    }

    private static void requireApart(EventFd event, EventFd resample) {
        if (event == resample) {
            throw new IllegalArgumentException(
                    event + " cannot be both the interrupt and its resample notification: each"
                            + " EOI would raise the next interrupt for ever; use two eventfds");
        }
    }

    /** The eventfd that raises the interrupt. */
    public EventFd event() {
        return event;
    }

    /** The GSI that it raises. */
    public Gsi gsi() {
        return gsi;
    }

    /**
     * Holds interrupts back: signals stay in the eventfd. A level interrupt that is asserted is taken off the line and its
     * resample eventfd signalled, so that a device still asserting it signals again. Masking twice is masking once.
     *
     * @throws IllegalStateException after {@link #close}
     */
    public synchronized void mask() {
        requireOpen();
        if (state == State.ASSIGNED) {
            vm.calls().deassignIrqfd(vmLease, eventLease, gsi);
            state = State.MASKED;
            resampleLease.ifPresent(vm.calls()::signal);
        }
    }

    /**
     * Lets interrupts through again; one is raised now if the eventfd was signalled meanwhile.
     *
     * @throws io.kvmirq.KernelException EBUSY when the eventfd was given to another GSI meanwhile; it stays masked
     * @throws IllegalStateException after {@link #close}
     */
    public synchronized void unmask() {
        requireOpen();
        if (state == State.MASKED) {
            if (resampleLease.isPresent()) {
                vm.calls().assignLevelIrqfd(vmLease, event, eventLease, resampleLease.get(), gsi);
            } else {
                vm.calls().assignIrqfd(vmLease, event, eventLease, gsi);
            }
            state = State.ASSIGNED;
        }
    }

    private void requireOpen() {
        if (state == State.CLOSED) {
            throw new IllegalStateException(this + " is closed: assign the eventfd again");
        }
    }

    /**
     * Deassigns: when it returns no further interrupt comes from this eventfd. Idempotent, and nothing is thrown.
     *
     * <p>Called from another process than the one that made the VM, the kernel returns EIO and the irqfd stays until the
     * VM or the eventfd is closed in every process. The GSI is free for other irqfds all the same.
     */
    @Override
    public synchronized void close() {
        if (state == State.CLOSED) {
            return;
        }
        if (state == State.ASSIGNED) {
            vm.calls().deassignIrqfd(vmLease, eventLease, gsi);
        }
        state = State.CLOSED;
        vm.routes().release(gsi);
        resampleLease.ifPresent(Fd.Lease::close);
        eventLease.close();
        vmLease.close();
    }

    @Override
    public String toString() {
        return "irqfd " + event + " → " + gsi
                + resample.map(notified -> ", resample " + notified).orElse("");
    }
}
