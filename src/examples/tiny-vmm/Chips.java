/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Optional;

/**
 * The interrupt controllers of the guest. KVM has them all, and a timer; or it has the LAPICs alone, and IOAPIC and PICs
 * are here: a split irqchip. That has no timer but the LAPICs', which is enough for Linux.
 */
final class Chips implements AutoCloseable {
    private final Vm vm;
    private final Optional<GuestIoapic> ioapic;
    private final GuestPic pic = new GuestPic();
    private final Deque<Runnable> parts = new ArrayDeque<>();

    /** Before any vCPU. */
    Chips(Vm vm, boolean split) {
        this.vm = vm;
        if (split) {
            vm.createSplitIrqchip(GuestIoapic.PINS);
            ioapic = Optional.of(new GuestIoapic(vm, GuestIoapic.PINS));
        } else {
            vm.createIrqchip();
            vm.createPitWithSpeaker();
            ioapic = Optional.empty();
        }
    }

    /** Interrupts by an edge, each time that it runs. KVM takes messages, and edges of its IOAPIC, by an irqfd. */
    Runnable edge(Gsi gsi) {
        if (ioapic.isPresent() && gsi.number() < GuestIoapic.PINS) {
            Userspace.Injector pin = ioapic.get().source();
            return () -> {
                pin.line(gsi, true);
                pin.line(gsi, false);
            };
        }
        EventFd event = EventFd.create(vm.kernel());
        parts.push(event::close);
        parts.push(vm.assignIrqfd(event, gsi)::close);
        return event::signal;
    }

    /** Interrupts by a message, each time that it runs. */
    Runnable message(MsiMessage message) {
        MaskableVector vector = MaskableVector.create(vm, message);
        parts.push(vector::close);
        return vector::signal;
    }

    /** Takes levels of a device that is passed through to the IOAPIC, if it is here. */
    Optional<Userspace> relay(EventLoop loop) {
        return ioapic.map(chip -> Userspace.of(loop, chip.source()));
    }

    /** Does something each time the guest ends an interrupt of a pin, if the IOAPIC is here. */
    void atEnd(Gsi pin, Runnable step) {
        ioapic.ifPresent(chip -> chip.addEndListener(pin, step));
    }

    /** @return false if the exit is of something else */
    boolean handle(VcpuExit exit) {
        return ioapic.isPresent()
                && switch (exit.reason()) {
                    case IOAPIC_EOI -> {
                        ioapic.get().endOfInterrupt(exit.vector());
                        yield true;
                    }
                    case MMIO -> handle(ioapic.get(), exit.address() - GuestIoapic.ADDRESS, exit);
                    case IO -> GuestPic.isPort(exit.port()) && handle(exit.port(), exit);
                    default -> false;
                };
    }

    private static boolean handle(GuestIoapic ioapic, long at, VcpuExit exit) {
        boolean isOurs = at >= 0 && at < GuestIoapic.BYTES;
        if (isOurs && exit.isWrite()) {
            ioapic.write(at, exit.size(), (int) exit.data(0));
        } else if (isOurs) {
            exit.answer(0, ioapic.read(at, exit.size()));
        }
        return isOurs;
    }

    private synchronized boolean handle(int port, VcpuExit exit) {
        for (int i = 0; i < exit.count(); i++) {
            if (exit.isWrite()) {
                pic.write(port, (int) exit.data(i));
            } else {
                exit.answer(i, pic.read(port));
            }
        }
        return true;
    }

    @Override
    public void close() {
        parts.forEach(Runnable::run);
    }
}
