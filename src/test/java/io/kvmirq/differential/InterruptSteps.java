/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static io.kvmirq.differential.Draft.DEASSIGN;

import io.kvmirq.differential.Descriptors.Assignment;
import io.kvmirq.differential.Descriptors.Event;
import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** Steps that route, register, inject and look at chips. */
final class InterruptSteps {
    private static final int RESAMPLE = Uapi.KVM_IRQFD_FLAG_RESAMPLE;

    /** Pins; the clock's is one of them. */
    private static final long[] SERVED = {0, 5, 8, 9, 12, 23};

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;

    InterruptSteps(Draft draft) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
    }

    // Routes

    void route() {
        route(draft, () -> values.rarely(3) ? pin() : message());
    }

    /** KVM_SET_GSI_ROUTING with some entries of an architecture: what follows their GSI. */
    static void route(Draft draft, Supplier<List<Long>> entry) {
        Values values = draft.values();
        int entries = (int) values.below(5);
        long nr = values.rarely(25) ? values.of(4096, 4097, -1) : entries;
        List<Long> arguments = new ArrayList<>(List.of(draft.fds().pick(Kind.VM), nr, values.rarely(25) ? 1L : 0));
        for (int i = 0; i < entries; i++) {
            arguments.add(values.rarely(30) ? values.of(4095, 4096, -1) : values.gsi());
            arguments.addAll(entry.get());
        }
        draft.step(List.of(new Call(Operation.ROUTING, List.copyOf(arguments))));
    }

    private List<Long> message() {
        long type = values.rarely(40) ? values.of(0, 3, 4, 5, 6) : Uapi.KVM_IRQ_ROUTING_MSI;
        long flags = values.rarely(15) ? values.of(1, 2) : 0;
        return List.of(type, flags, values.addressLow(), values.addressHigh(), values.data());
    }

    private List<Long> pin() {
        long chip = values.rarely(20) ? values.of(3, -1) : values.below(3);
        long pin = values.rarely(20) ? values.of(8, 24, -1) : values.below(chip == 2 ? 24 : 8);
        return List.of((long) Uapi.KVM_IRQ_ROUTING_IRQCHIP, values.rarely(30) ? 1L : 0, chip, pin, 0L);
    }

    // Registrations

    void irqfd() {
        long vm = fds.pick(Kind.VM);
        long fd = fds.pick(Kind.EVENTFD);
        long gsi = values.gsi();
        long flags =
                values.rarely(15) ? values.of(4, 5, -1) : values.of(0, 0, 0, RESAMPLE, DEASSIGN, DEASSIGN | RESAMPLE);
        long resample = (flags & RESAMPLE) != 0 || values.rarely(6) ? fds.pick(Kind.EVENTFD) : 0;
        List<Call> calls = new ArrayList<>();
        calls.add(call(Operation.IRQFD, vm, fd, gsi, flags, resample));
        fds.event(resample).signalledByGuests();
        if (flags == 0 || flags == RESAMPLE) {
            fds.event(fd).assignments().add(new Assignment(vm, gsi, flags, resample));
            if (values.rarely(3)) {
                Assignment other = new Assignment(fds.pick(Kind.VM), values.gsi(), 0, 0);
                calls.add(call(Operation.IRQFD, other.vm(), fd, other.gsi(), 0, 0));
                fds.event(fd).assignments().add(other);
            }
            draft.settle(fd, calls);
            if (values.rarely(4)) {
                // Busy as well as wrong, if it was attached again.
                long wrong = values.rarely(2) ? fds.stale() : fds.another(Kind.EVENTFD);
                calls.add(call(Operation.IRQFD, vm, fd, gsi, RESAMPLE, wrong));
            }
        }
        draft.step(calls);
    }

    void ioeventfd() {
        long flags = values.rarely(12) ? values.of(8, 16, 32, 0x14) : values.of(0, 0, 0, 0, 1, 2, 2, 2, 3, 4, 5, 6);
        long event = fds.pick(Kind.EVENTFD);
        fds.event(event).signalledByGuests();
        Call call = call(
                Operation.IOEVENTFD,
                fds.pick(Kind.VM),
                event,
                values.rarely(12) ? values.of(-1, -4) : values.of(GuestRun.NOTIFY, GuestRun.NOTIFY, 0x1000),
                values.rarely(12) ? values.of(3, 16) : values.of(0, 1, 1, 4),
                flags,
                values.below(2));
        draft.step(call);
        if (values.rarely(8)) {
            draft.step(call);
        }
    }

    // Injection and chips

    void signal() {
        draft.step(call(
                Operation.SIGNAL_MSI,
                fds.pick(Kind.VM),
                values.addressLow(),
                values.addressHigh(),
                values.data(),
                values.rarely(12) ? values.of(1, 2) : 0));
    }

    void line() {
        Operation operation = values.rarely(3) ? Operation.IRQ_LINE : Operation.IRQ_LINE_STATUS;
        long vm = fds.pick(Kind.VM);
        long gsi = values.gsi();
        long[] levels = values.rarely(5) ? new long[] {1, 0, 1} : new long[] {values.of(0, 1, 1, -1)};
        for (long level : levels) {
            draft.step(call(operation, vm, gsi, level));
        }
    }

    void irqchip() {
        long vm = fds.pick(Kind.VM);
        long chip = values.rarely(12) ? values.of(3, -1) : values.of(0, 1, 2, 2, 2, 2);
        long[] state = chip == 2 ? values.ioapicState() : values.picState();
        draft.step(call(Operation.SET_IRQCHIP, vm, chip, state[0], state[1]));
    }

    /** Looks at a chip or a LAPIC, often where there is none. */
    void observe() {
        if (values.rarely(4)) {
            draft.step(call(Operation.GET_LAPIC, values.rarely(3) ? fds.another(Kind.VCPU) : fds.pick(Kind.VCPU)));
        } else {
            long vm = values.rarely(2) ? fds.pick(Kind.VM) : values.rarely(3) ? fds.stale() : fds.another(Kind.VM);
            draft.step(call(Operation.GET_IRQCHIP, vm, values.rarely(2) ? values.of(3, -1) : values.below(3)));
        }
    }

    /** A guest that has something to take: a pin or a message is for it, most of the time. */
    void served() {
        long vm = fds.pick(Kind.VM);
        long vcpu = fds.pick(Kind.VCPU);
        long gsi = values.of(SERVED);
        draft.step(call(Operation.SET_LAPIC, vcpu, 0xf0, 0x1ff));
        if (values.rarely(2)) {
            draft.step(call(Operation.SET_IRQCHIP, vm, 2, 24 + 8 * gsi, values.servedPin()));
        }
        switch ((int) values.below(6)) {
            case 5 -> {
                for (long nmis = 1 + values.below(3); nmis > 0; nmis--) {
                    draft.step(call(Operation.SIGNAL_MSI, vm, 0xfee00000L, 0, 0x400, 0));
                }
            }
            case 4 -> {
                draft.step(call(Operation.ROUTING, vm, 1, 0, gsi, Uapi.KVM_IRQ_ROUTING_MSI, 0, 0xfee00000L, 0, 0x8040));
                draft.step(call(Operation.IRQ_LINE_STATUS, vm, gsi, 1));
            }
            case 0 -> draft.step(call(Operation.IRQ_LINE_STATUS, vm, gsi, 1));
            case 1 -> heldLine(vm, gsi);
            default -> signal();
        }
        if (values.rarely(3)) {
            line();
        }
        draft.run(call(Operation.RUN, vcpu));
    }

    void run() {
        draft.run(call(Operation.RUN, fds.pick(Kind.VCPU)));
    }

    void state() {
        long vcpu = values.rarely(6) ? fds.another(Kind.VCPU) : fds.pick(Kind.VCPU);
        draft.step(
                values.rarely(2)
                        ? call(Operation.GET_MP_STATE, vcpu)
                        : call(Operation.SET_MP_STATE, vcpu, values.of(0, 1, 2, 3, 4, 5, 9, 10, -1)));
    }

    /** Switches a LAPIC on. */
    void listening(long vcpu) {
        draft.step(call(Operation.SET_LAPIC, vcpu, 0xf0, 0x1ff));
    }

    void lapic() {
        long vcpu = fds.pick(Kind.VCPU);
        long[] register = values.lapicRegister();
        draft.step(call(Operation.SET_LAPIC, vcpu, register[0], register[1]));
    }

    /**
     * Two eventfds hold one line: the second keeps it high while the first is settled, until its close is noticed.
     */
    void heldLine() {
        long heldBy = heldLine(fds.pick(Kind.VM), values.of(SERVED));
        if (values.rarely(2)) {
            draft.close(heldBy);
        }
    }

    /** @return the eventfd that keeps it high */
    private long heldLine(long vm, long gsi) {
        long first = fds.fresh();
        long second = fds.fresh();
        draft.step(
                call(Operation.EVENTFD, first, 0, 0),
                call(Operation.EVENTFD, second, 0, 0),
                call(Operation.IRQFD, vm, first, gsi, RESAMPLE, first),
                call(Operation.IRQFD, vm, second, gsi, RESAMPLE, first),
                call(Operation.WRITE, first, 1, 8),
                call(Operation.IRQFD, vm, first, gsi, DEASSIGN, 0));
        fds.addEvent(first, new Event(false)).signalledByGuests();
        fds.addEvent(second, new Event(false));
        fds.event(second).assignments().add(new Assignment(vm, gsi, RESAMPLE, first));
        return second;
    }
}
