/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static io.kvmirq.selftest.Scenarios.LEVEL_PIN;
import static io.kvmirq.selftest.Scenarios.require;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Vm;

/** A guest of x86 that counts each vector and answers. */
final class GuestTarget extends ForwardTarget {
    private static final int FIRST = 0x30;
    private static final InterruptVector LINE = new InterruptVector(FIRST);

    private final Irqchip irqchip;
    private final Guest guest;
    private final EventFd answer;
    private final IoEventFd port;
    private final Patience patience;

    GuestTarget(Kernel kernel, Irqchip irqchip, Patience usual) {
        this.patience = new Patience(usual.time(), () -> usual.over().getAsBoolean() || isDead());
        this.irqchip = irqchip;
        try (Undo undo = new Undo()) {
            answer = undo.add(EventFd.create(kernel));
            guest = undo.add(new Guest(kernel, irqchip));
            port = undo.add(guest.vm().assignIoEventFd(Scenarios.ANY_ANSWER, answer));
            undo.keep();
        }
    }

    private boolean isDead() {
        return guest.isDead();
    }

    @Override
    Vm vm() {
        return guest.vm();
    }

    @Override
    boolean runsGuest() {
        return true;
    }

    private static InterruptVector vector(int ofDevice) {
        return new InterruptVector(FIRST + ofDevice % AT_ONCE);
    }

    @Override
    MsiMessage message(int vector) {
        guest.handle(vector(vector));
        return MsiMessage.to(Guest.VCPU, vector(vector));
    }

    @Override
    String name(int vector) {
        return vector(vector).toString();
    }

    @Override
    Gsi line() {
        if (irqchip == Irqchip.SPLIT) {
            throw new UnsupportedOperationException("INTx needs a pin of the IOAPIC in the kernel, and this kernel was"
                    + " built without it (CONFIG_KVM_IOAPIC): test MSI or MSI-X");
        }
        guest.handle(LINE);
        vm().routes().change(edit -> edit.remove(LEVEL_PIN.gsi()).add(LEVEL_PIN));
        vm().restore(vm().ioapic().levelPin(LEVEL_PIN, LINE));
        return LEVEL_PIN.gsi();
    }

    @Override
    String lineName() {
        return LINE.toString();
    }

    @Override
    void start() {
        guest.boot();
        guest.release();
    }

    @Override
    long arrivals(int vector, Runnable trigger) {
        return arrivals(vector(vector), trigger);
    }

    /** Waits for the answer in any case: the guest counts first, then ends the interrupt, then answers. */
    private long arrivals(InterruptVector vector, Runnable trigger) {
        int before = guest.handled(vector);
        trigger.run();
        do {
            if (!patience.await(answer)) {
                break;
            }
            answer.drain();
            guest.requireAlive();
        } while (guest.handled(vector) == before);
        guest.requireAlive();
        return (long) guest.handled(vector) - before;
    }

    /** Twice: without the EOI of the first the line would stay high, and the second would not arrive. */
    @Override
    long lineArrivals(Runnable trigger) {
        long first = arrivals(LINE, trigger);
        long second = first == 1 ? arrivals(LINE, trigger) : 0;
        if (second == 1) {
            IoapicState after = vm().ioapic();
            require(!after.isHigh(LEVEL_PIN), "the line stayed high after the guest's EOI");
        }
        return first == 1 ? second : first;
    }

    @Override
    public void close() {
        guest.close();
        port.close();
        answer.close();
    }
}
