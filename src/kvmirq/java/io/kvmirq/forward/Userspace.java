/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Spi;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import java.util.Objects;

/**
 * The relay of interrupts by this process, where no irqfd can take them. A VMM gives it to {@link Forwarding}: a loop
 * that takes the eventfds of the device, and the way into the guest. The VMM runs the loop in a thread of its own.
 *
 * @param loop takes the signals; only while the VMM runs it, interrupts arrive
 * @param injector raises the signalled interrupts in the guest
 */
public record Userspace(EventLoop loop, Injector injector) {
    public Userspace {
        Objects.requireNonNull(injector, "injector is null");
        Objects.requireNonNull(loop, "loop is null");
    }

    /**
     * The guest's interrupt controllers, as far as they take interrupts of devices. Called in the thread of the loop,
     * lines also in the thread that ends, masks, moves or closes an interrupt, and with no lock of this library held:
     * it may take locks of the VMM, and look at forwarded interrupts and change them. An exception that it throws in
     * the loop is logged, and that message is lost. A line's injection is retried a few times.
     *
     * <p>When {@code mask}, {@code reroute}, {@code moveTo} or {@code close} of an interrupt returns, or {@code close}
     * of its {@link Forwarding} or of the {@link EventLoop}, its injection has ended. These methods wait for an
     * injection that runs in another thread; called by the injector itself, they make its injection the last one. Call
     * them without a lock that the injector takes. With such a lock call {@link ForwardedIrq#beginMask}, which does not
     * wait, nor does a {@code reroute} after it. Two injectors that mask each other's line wait for each other.
     */
    public interface Injector {
        /** Delivers a message, edge-triggered, as a device's write of it does. */
        void message(MsiMessage message);

        /** Drives a line of an IOAPIC, a PIC or a GIC; an edge is a line that goes high and low. */
        void line(Gsi gsi, boolean high);
    }

    /** For a VMM with interrupt controllers of its own, or with its own IOAPIC beside the LAPICs of KVM. */
    public static Userspace of(EventLoop loop, Injector injector) {
        return new Userspace(loop, injector);
    }

    /**
     * Into the controllers that KVM has for {@code vm}: messages need its LAPICs (on arm64 an ITS), lines the full
     * irqchip; on arm64 line n is SPI n + 32. Interrupts that the guest does not accept are dropped, as by hardware.
     */
    public static Userspace into(Vm vm, EventLoop loop) {
        Objects.requireNonNull(loop, "loop is null");
        Objects.requireNonNull(vm, "vm is null");
        return new Userspace(loop, new Injector() {
            @Override
            public void message(MsiMessage message) {
                vm.signal(message);
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                if (vm.isArm64()) {
                    vm.setSpi(new Spi(Spi.FIRST + gsi.number()), high);
                } else {
                    vm.setLine(gsi, high);
                }
            }
        });
    }
}
