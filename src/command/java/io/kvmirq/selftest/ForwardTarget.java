/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.undo.Undo;
import java.util.function.Supplier;

/** A throwaway VM that takes a device's interrupts. For one thread. */
abstract sealed class ForwardTarget implements AutoCloseable permits GuestTarget, VgicTarget {
    /** The EOI is missed since "KVM: arm64: GICv3: Add SPI tracking to handle asymmetric deactivation", of November 2025. */
    static final String STAYED_HIGH = "the line stayed high after the guest's EOI; on a GICv3, Linux 7.2 misses the EOI"
            + " of a line that the guest takes and completes without an exit in between";

    /** The most vectors that are forwarded at the same time. Later vectors of the device use the same interrupts again. */
    static final int AT_ONCE = Board.INTERRUPTS;

    /**
     * @param mirror asked when the VM exists
     * @param patience with each interrupt
     */
    static ForwardTarget create(Kernel kernel, Supplier<Mirror> mirror, Patience patience) {
        Irqchip irqchip = Irqchip.ofKernel(kernel);
        try (Undo undo = new Undo()) {
            ForwardTarget target = undo.add(
                    irqchip.runsGuest()
                            ? new GuestTarget(kernel, irqchip, patience)
                            : new VgicTarget(kernel, patience));
            target.mirror = mirror.get();
            target.mirror.apply(new Event.IrqchipCreated(
                    switch (irqchip) {
                        case FULL -> Event.Irqchip.FULL;
                        case SPLIT -> Event.Irqchip.SPLIT;
                        case VGIC, PENDING -> Event.Irqchip.VGIC;
                    }));
            undo.keep();
            return target;
        }
    }

    private Mirror mirror = Mirror.create(MirrorHost.unknown("the VM does not exist yet"));

    /** It knows this VM. */
    final Mirror mirror() {
        return mirror;
    }

    abstract Vm vm();

    abstract boolean runsGuest();

    abstract MsiMessage message(int vector);

    abstract String name(int vector);

    /** Prepares a level-triggered pin, and gives its GSI. */
    abstract Gsi line();

    abstract String lineName();

    abstract void start();

    /**
     * Runs {@code trigger} and waits. Without a guest, hardware takes the vector only when it is forwarded again.
     *
     * @return how often the message of the vector arrived since
     */
    abstract long arrivals(int vector, Runnable trigger);

    /** Runs {@code trigger} and waits. @return how often the line rose since, and fell by the EOI if a guest runs */
    abstract long lineArrivals(Runnable trigger);

    @Override
    public abstract void close();
}
