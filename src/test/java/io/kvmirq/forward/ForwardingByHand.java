/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Forwarding by hand, in the right order, so that a subclass differs in one step. */
class ForwardingByHand implements Way {
    final Vm vm;
    private final @Nullable Part[] parts;
    private final boolean[] maskedAtEnd;
    private final ArmedVectors armed;

    /** The parts of one forwarded interrupt. */
    static final class Part {
        EventFd event;
        Irqfd irqfd;
        final Gsi gsi;
        MsiMessage message;
        boolean masked;

        Part(EventFd event, Irqfd irqfd, Gsi gsi, MsiMessage message) {
            this.event = event;
            this.irqfd = irqfd;
            this.gsi = gsi;
            this.message = message;
        }
    }

    ForwardingByHand(Vm vm, VfioDevice device, int vectors) {
        this.vm = vm;
        this.parts = new Part[vectors];
        this.maskedAtEnd = new boolean[vectors];
        List<EventFd> events = new ArrayList<>();
        IntStream.range(0, vectors).forEach(i -> events.add(EventFd.create(vm.kernel())));
        this.armed = device.msix(0, vectors).arm(events);
        armed.unwire(0, vectors);
        events.forEach(EventFd::close);
    }

    @Override
    public final void forward(int first, int count, IntFunction<MsiMessage> messages) {
        for (int i = 0; i < count; i++) {
            parts[first + i] = forward(first + i, EventFd.create(vm.kernel()), messages.apply(i));
        }
    }

    Part forward(int irq, EventFd event, MsiMessage message) {
        Gsi gsi = vm.routes().add(message);
        Irqfd irqfd = vm.assignIrqfd(event, gsi);
        trigger(irq, event);
        return new Part(event, irqfd, gsi, message);
    }

    final void trigger(int irq, EventFd event) {
        armed.set(irq, event);
    }

    final void unwire(int irq) {
        armed.unwire(irq);
    }

    private Part part(int irq) {
        return Objects.requireNonNull(parts[irq]);
    }

    @Override
    public final void end(int irq) {
        maskedAtEnd[irq] = part(irq).masked;
        end(irq, part(irq));
        parts[irq] = null;
    }

    void end(int irq, Part part) {
        unwire(irq);
        part.irqfd.close();
        vm.routes().remove(part.gsi);
        part.event.close();
    }

    @Override
    public final void endAll() {
        IntStream.range(0, parts.length).filter(i -> parts[i] != null).forEach(this::end);
    }

    @Override
    public final void mask(int irq) {
        mask(part(irq));
        part(irq).masked = true;
    }

    void mask(Part part) {
        part.irqfd.mask();
    }

    @Override
    public final void unmask(int irq) {
        unmask(irq, part(irq));
        part(irq).masked = false;
    }

    void unmask(int irq, Part part) {
        part.irqfd.unmask();
    }

    @Override
    public final void reroute(int irq, MsiMessage message) {
        reroute(irq, part(irq), message);
        part(irq).message = message;
    }

    void reroute(int irq, Part part, MsiMessage message) {
        vm.routes().replace(part.gsi, message);
    }

    @Override
    public final void move(int irq) {
        if (!part(irq).masked) {
            move(part(irq));
        }
    }

    /** To user space and back. */
    void move(Part part) {
        part.irqfd.mask();
        relay(part);
        part.irqfd.unmask();
    }

    /** As the thread in user space does. */
    final void relay(Part part) {
        if (part.event.drain() != 0) {
            vm.signal(part.message);
        }
    }

    @Override
    public boolean heldBackAtEnd(int irq) {
        return maskedAtEnd[irq];
    }

    @Override
    public final void close() {
        armed.close();
        for (Part part : parts) {
            if (part != null) {
                part.irqfd.close();
                part.event.close();
            }
        }
    }
}
