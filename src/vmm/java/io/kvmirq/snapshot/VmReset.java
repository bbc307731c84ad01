/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.Route;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Pic;
import io.kvmirq.kvm.X86Pit;
import io.kvmirq.kvm.X86Vm;
import io.kvmirq.pci.DeviceState;
import io.kvmirq.pci.PciHostBridge;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Collection;
import java.util.List;
import java.util.Optional;

/**
 * The reset of a VM's parts, whose vCPUs belong to the calling thread.
 *
 * <p>Source: {@code kvm_ioapic_reset()} in arch/x86/kvm/ioapic.c, {@code kvm_create_pic()} in i8259.c, {@code
 * kvm_pit_reset()} in i8254.c.
 */
record VmReset(
        Vm vm,
        Optional<PciHostBridge> bus,
        List<DeviceState> devices,
        Optional<GuestIoapic> ioapic,
        Optional<GuestPic> pic,
        Optional<VgicWords> vgic,
        Collection<Irqfd> irqfds,
        Collection<MaskableVector> vectors,
        Collection<Vcpu> vcpus) {
    // Offsets in struct kvm_ioapic_state
    private static final int LINES = 16;
    private static final int ENTRIES = 24;

    /** The offset of elcr_mask in struct kvm_pic_state: the pins that may be level-triggered. */
    private static final int ELCR_MASK = 15;
    /** The mode of a PIT channel before the guest programs it. */
    private static final int NO_MODE = 0xff;

    /** Drives the lines again after the chips were read and written, so that no level is lost in between. */
    void apply() {
        bus.ifPresent(PciHostBridge::reset);
        devices.stream().filter(device -> !isOnBus(device)).forEach(DeviceState::reset);
        vgic.ifPresentOrElse(VgicWords::reset, this::resetChips);
        for (Irqfd irqfd : irqfds) {
            try {
                reset(irqfd);
            } catch (ClosedHandleException e) {
                // It was unplugged.
            }
        }
        for (MaskableVector vector : vectors) {
            if (vector.isMasked()) { // else KVM takes each signal at once
                vector.event().drain();
            }
        }
        vcpus.forEach(Vcpu::reset);
    }

    private static void reset(Irqfd irqfd) {
        boolean isLevel = irqfd.resample().isPresent();
        if (isLevel && !irqfd.isMasked()) {
            irqfd.mask();
            irqfd.unmask();
        } else if (!isLevel && irqfd.isMasked()) {
            irqfd.event().drain();
        }
    }

    private boolean isOnBus(DeviceState device) {
        return bus.stream().anyMatch(all -> all.devices().stream().anyMatch(other -> other == device));
    }

    private void resetChips() {
        X86Vm x86 = vm.x86();
        unlessMissing(() -> {
            IoapicState now = x86.ioapic();
            x86.setPic(reset(x86.pic(Route.Chip.PIC_SLAVE))); // first: restoring a PIC samples the slave's output
            x86.setPic(reset(x86.pic(Route.Chip.PIC_MASTER)));
            x86.setIoapic(reset(now));
        });
        unlessMissing(() -> x86.setPit(reset(x86.pit())));
        ioapic.ifPresent(GuestIoapic::reset);
        pic.ifPresent(GuestPic::reset);
    }

    private static void unlessMissing(Runnable reset) {
        try {
            reset.run();
        } catch (KernelException e) {
            if (!e.errno().equals(Errno.ENXIO)) {
                throw e;
            }
        }
    }

    /** Treats high lines as new edges, as a new PIC does. */
    private static X86Pic reset(X86Pic now) {
        byte[] reset = new byte[now.bytes().length];
        reset[ELCR_MASK] = now.bytes()[ELCR_MASK];
        long lines = now.get(X86Pic.Name.LAST_IRR);
        return X86Pic.fromBytes(now.chip(), reset)
                .set(X86Pic.Name.LAST_IRR, lines)
                .set(X86Pic.Name.IRR, lines);
    }

    /** Adds the high lines, because KVM does not report the line of an edge that it has delivered. */
    private IoapicState reset(IoapicState now) {
        byte[] bytes = now.bytes();
        ByteBuffer reset = ByteBuffer.allocate(bytes.length).order(ByteOrder.nativeOrder());
        int lines = ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).getInt(LINES);
        for (Route route : vm.routes().routes()) {
            boolean isPin = route instanceof Route.Pin pin && pin.chip() == Route.Chip.IOAPIC;
            lines |= isPin && vm.x86().isHigh(route.gsi()) ? 1 << ((Route.Pin) route).pin() : 0;
        }
        reset.putLong(0, IoapicEntry.REGISTERS).putInt(LINES, lines);
        for (int pin = 0; pin < GuestIoapic.PINS; pin++) {
            reset.putLong(ENTRIES + pin * Long.BYTES, IoapicEntry.MASKED.mask());
        }
        return IoapicState.fromBytes(reset.array());
    }

    private static X86Pit reset(X86Pit now) {
        return X86Pit.fromBytes(new byte[now.bytes().length])
                .set(X86Pit.Name.MODE_0, NO_MODE)
                .set(X86Pit.Name.MODE_1, NO_MODE)
                .set(X86Pit.Name.MODE_2, NO_MODE)
                .set(X86Pit.Name.GATE_0, 1)
                .set(X86Pit.Name.GATE_1, 1);
    }
}
