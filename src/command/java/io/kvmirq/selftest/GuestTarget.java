/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static io.kvmirq.selftest.Scenarios.require;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;

/** A guest that counts each interrupt and answers. */
final class GuestTarget extends ForwardTarget {
    private final Guest guest;
    private final EventFd answer;
    private final IoEventFd place;
    private final Patience patience;

    GuestTarget(Kernel kernel, Irqchip irqchip, Patience usual) {
        this.patience = new Patience(usual.time(), () -> usual.over().getAsBoolean() || isDead());
        try (Undo undo = new Undo()) {
            answer = undo.add(EventFd.create(kernel));
            guest = undo.add(new Guest(kernel, irqchip));
            place = undo.add(guest.vm().assignIoEventFd(guest.board().answer(), answer));
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

    private static int interrupt(int ofDevice) {
        return ofDevice % AT_ONCE;
    }

    @Override
    MsiMessage message(int vector) {
        MsiMessage message = guest.board().message(interrupt(vector));
        guest.handle(interrupt(vector));
        mirror().apply(guest.board().events(interrupt(vector)));
        return message;
    }

    @Override
    String name(int vector) {
        return guest.board().name(interrupt(vector));
    }

    @Override
    Gsi line() {
        return guest.board().openLine();
    }

    @Override
    String lineName() {
        return guest.board().name(guest.board().line());
    }

    @Override
    void start() {
        guest.boot();
        guest.release();
    }

    /** Waits for the answer in any case: the guest counts first, then ends the interrupt, then answers. */
    @Override
    long arrivals(int vector, Runnable trigger) {
        return arrivalsOf(interrupt(vector), trigger);
    }

    private long arrivalsOf(int interrupt, Runnable trigger) {
        int before = guest.handled(interrupt);
        trigger.run();
        do {
            if (!patience.await(answer)) {
                break;
            }
            answer.drain();
            guest.requireAlive();
        } while (guest.handled(interrupt) == before);
        guest.requireAlive();
        return (long) guest.handled(interrupt) - before;
    }

    /** Twice: without the EOI of the first the line would stay high, and the second would not arrive. */
    @Override
    long lineArrivals(Runnable trigger) {
        int line = guest.board().line();
        long first = arrivalsOf(line, trigger);
        long second = first == 1 ? arrivalsOf(line, trigger) : 0;
        if (second == 1) {
            require(!guest.seen(guest.board()::isLineHigh), STAYED_HIGH);
        }
        return first == 1 ? second : first;
    }

    @Override
    public void close() {
        guest.close();
        place.close();
        answer.close();
    }
}
