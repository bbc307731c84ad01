/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.Optional;

/** Checks whether an interrupt can be forwarded. */
record ForwardChecks(Vm vm, VfioDevice device, Triggers triggers) {
    /** @throws IllegalArgumentException if the interrupt belongs to another device handle */
    void requireOpen(DeviceIrq irq) {
        if (irq.device() != device) {
            throw new IllegalArgumentException(irq + " belongs to another device handle than this forwarding of "
                    + device.name() + ": use interrupts of the device that it was created with");
        }
        if (device.fd().isClosed()) {
            throw new ClosedHandleException(device.name().toString());
        }
        if (vm.fd().isClosed()) {
            throw new ClosedHandleException(vm.toString());
        }
    }

    /**
     * @param wired whether other vectors wired by another owner are already forwarded, so that the kernel need not be
     *     probed again
     * @return whether another program has enabled this kind of interrupt
     * @throws KernelException EBUSY if another owner has, or may have, armed the device's interrupts, and the caller
     *     does not, or cannot, take them over
     */
    boolean isEnabledElsewhere(DeviceIrq irq, boolean takesOver, boolean wired) {
        IrqKind kind = irq.info().kind();
        Optional<Armed> inTheWay = irq.inTheWay();
        Optional<Armed> other = inTheWay.filter(armed -> !triggers.isOurs(armed));
        if (other.isPresent()) {
            Armed theirs = other.get();
            if (Triggers.isForwarded(theirs)) {
                throw busy(irq, "of another forwarding of this device in this process: use that one");
            }
            if (theirs.kind() != kind) {
                throw busy(irq, "of this process, " + theirs + ": end that first");
            }
            if (!takesOver) {
                throw busy(irq, "of this process, " + theirs + ": end that, or take it over");
            }
        }
        if (inTheWay.isPresent() || device.access() != VfioDevice.Access.ADOPTED) {
            return false;
        }
        if (takesOver && wired) {
            return true;
        }
        Optional<IrqKind> enabled = irq.enabledKind();
        if (enabled.isPresent() && enabled.get() != kind) {
            throw busy(irq, "of another program, which uses " + enabled.get().label() + ": end that first");
        }
        if (!takesOver && enabled.isPresent()) {
            throw busy(irq, "of another program: end that, or take it over");
        }
        if (!takesOver && kind == IrqKind.PLATFORM) {
            String why = "it may have a trigger, which no kernel shows for an adopted platform device: take it over";
            throw new KernelException("forward", irq.toString(), Errno.EBUSY, why);
        }
        return enabled.isPresent();
    }

    private static KernelException busy(DeviceIrq irq, String whose) {
        return new KernelException("forward", irq.toString(), Errno.EBUSY, "it already has a trigger " + whose);
    }

    /**
     * @return whether all GSIs already have these routes
     * @throws IllegalArgumentException if a GSI is in use
     */
    boolean areRouted(List<Gsi> gsis, List<MsiMessage> messages) {
        boolean there = true;
        for (int i = 0; i < gsis.size(); i++) {
            Gsi gsi = gsis.get(i);
            List<Route> now = vm.routes().of(gsi);
            boolean same = now.equals(List.of(new Route.Msi(gsi, messages.get(i))));
            there &= same;
            if (vm.routes().hasIrqfd(gsi) || !now.isEmpty() && !same) {
                throw new IllegalArgumentException(gsi + " of " + vm + " is in use"
                        + (now.isEmpty() ? "" : " for " + now) + ": choose another one, or let one be allocated");
            }
        }
        return there;
    }

    /** Whether the VM accepts irqfds. Without an irqchip, KVM refuses them all, even on an unused GSI. */
    boolean takesIrqfds() {
        try (EventFd scratch = EventFd.create(vm.kernel());
                Irqfd irqfd = vm.maskedIrqfd(scratch, new Gsi(Gsi.MAX))) {
            irqfd.unmask();
            return irqfd.gsi().number() == Gsi.MAX;
        } catch (KernelException e) {
            return !e.errno().equals(Errno.EINVAL);
        }
    }

    /** Whether signals on a GSI without a route are lost. False on arm64, or if another program owns the routes. */
    private boolean needsRoutes() {
        return !vm.isArm64() && vm.routes().isKnown();
    }

    /** @throws IllegalArgumentException if signals on the GSI would be lost */
    void requireRoute(Gsi gsi, DeviceIrq irq) {
        if (needsRoutes() && vm.routes().of(gsi).isEmpty()) {
            throw new IllegalArgumentException(gsi + " of " + vm + " has no route, so each interrupt of " + irq
                    + " would be lost: route it to a pin first");
        }
    }

    /** @throws IllegalArgumentException if KVM would not see the guest's EOI on the GSI */
    void requirePin(Gsi gsi, DeviceIrq irq) {
        requireRoute(gsi, irq);
        if (needsRoutes() && vm.routes().of(gsi).stream().noneMatch(Route.Pin.class::isInstance)) {
            throw new IllegalArgumentException(
                    gsi + " of " + vm + " is routed to a message, for which KVM sees no EOI, so " + irq
                            + " would stay masked: route it to a pin");
        }
    }
}
