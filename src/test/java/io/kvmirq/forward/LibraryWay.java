/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/** The library's operations. */
final class LibraryWay implements Way {
    /** Whose triggers the device has. */
    enum Triggers implements LostSearch.Maker {
        /** Forwarding makes them. */
        OURS,
        /** The user has wired the device, and lends the eventfds. */
        LENT,
        /** The user has wired the device, and forwarding replaces his eventfds. */
        REPLACED;

        @Override
        public Way make(Vm vm, VfioDevice device, int vectors) {
            return new LibraryWay(vm, device, vectors, this);
        }
    }

    private final Vm vm;
    private final VfioDevice device;
    private final Triggers triggers;
    private final List<EventFd> users = new ArrayList<>();
    private final ForwardedIrq[] irqs;
    private final EventLoop loop;
    private Forwarding forwarding;

    private LibraryWay(Vm vm, VfioDevice device, int vectors, Triggers triggers) {
        this.vm = vm;
        this.device = device;
        this.triggers = triggers;
        this.irqs = new ForwardedIrq[vectors];
        this.loop = EventLoop.create(vm.kernel());
        this.forwarding = forwarding();
        if (triggers != Triggers.OURS) {
            IntStream.range(0, vectors).forEach(i -> users.add(EventFd.create(vm.kernel())));
            device.msix(0, vectors).arm(users);
        }
    }

    private Forwarding forwarding() {
        return Forwarding.builder(vm, device)
                .userspace(Userspace.into(vm, loop))
                .build();
    }

    @Override
    public void forward(int first, int count, IntFunction<MsiMessage> messages) {
        MessageIrqs which = device.msix(first, count);
        List<ForwardedIrq> forwarded =
                switch (triggers) {
                    case OURS -> forwarding.forwardAll(which, messages);
                    case LENT -> forwarding.takeOver(which, users.subList(first, first + count), messages);
                    case REPLACED -> forwarding.takeOver(which, messages);
                };
        for (int i = 0; i < count; i++) {
            irqs[first + i] = forwarded.get(i);
        }
    }

    /** Gives a vector back to the user. */
    private void giveBack(int first, int count) {
        if (triggers == Triggers.REPLACED) {
            ArmedVectors armed =
                    (ArmedVectors) device.msix().get(first).inTheWay().orElseThrow();
            armed.set(first, users.subList(first, first + count));
        }
    }

    @Override
    public void end(int irq) {
        irqs[irq].close();
        giveBack(irq, 1);
    }

    @Override
    public void endAll() {
        forwarding.close();
        giveBack(0, irqs.length);
        forwarding = forwarding();
    }

    @Override
    public void mask(int irq) {
        irqs[irq].mask();
    }

    @Override
    public void unmask(int irq) {
        irqs[irq].unmask();
    }

    @Override
    public void reroute(int irq, MsiMessage message) {
        irqs[irq].reroute(message);
    }

    @Override
    public void move(int irq) {
        irqs[irq].moveTo(isHere(irq) ? Mechanism.BYPASS : Mechanism.USERSPACE);
    }

    /** Whether this process injects it. */
    private boolean isHere(int irq) {
        return irqs[irq].mechanism() == Mechanism.USERSPACE;
    }

    @Override
    public void runLoop() {
        loop.poll(0);
    }

    @Override
    public boolean losesWhatWaits(int irq) {
        return triggers != Triggers.LENT && (irqs[irq].isMasked() || isHere(irq));
    }

    @Override
    public boolean formerUserTook(int irq) {
        return triggers == Triggers.REPLACED && users.get(irq).drain() != 0;
    }

    @Override
    public void close() {
        forwarding.close();
        loop.close();
        users.forEach(EventFd::close);
    }
}
