/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import java.util.List;
import java.util.Set;

/**
 * A virtual machine: made here, or made elsewhere and adopted. Thread-safe.
 *
 * <p>What is registered with a VM (irqfds, ioeventfds, memory) leases it: {@link #close} takes effect when the last of them
 * is closed. A vCPU does not.
 */
public final class Vm implements AutoCloseable {
    private final VmCalls calls;
    private final RouteTable routes;
    private final MemorySlots slots;

    private Vm(VmCalls calls, List<Route> routesNow, Gsi firstFree) {
        this.calls = calls;
        try {
            this.routes = new RouteTable(calls, routesNow, firstFree);
            this.slots = new MemorySlots(calls);
        } catch (RuntimeException e) {
            calls.closeVm();
            throw e;
        }
    }

    /**
     * A new VM of the default type, without irqchip, memory or vCPUs. The first one opens the KVM device.
     *
     * @throws io.kvmirq.KernelException EMFILE, ENFILE, ENOMEM; EBUSY when another hypervisor has the CPU; as
     *     {@link Kernel#device}
     */
    public static Vm create(Kernel kernel) {
        return new Vm(VmCalls.create(kernel), List.of(), new Gsi(0));
    }

    /**
     * A VM that a VMM in this process made; KVM answers EIO to any other process.
     *
     * @param number the VM's descriptor
     * @param routesNow the GSI routes it has. The kernel has no call to read them, and each change replaces all: routes
     *     not named here are lost at the first one.
     * @param firstFree the lowest GSI that may be given out; those below belong to the VMM, or to pins of its IOAPIC
     */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, List<Route> routesNow, Gsi firstFree) {
        Fd fd = Fd.adopt(kernel, "vm", number, ownership);
        return new Vm(new VmCalls(kernel, fd, Set.of()), routesNow, firstFree);
    }

    VmCalls calls() {
        return calls;
    }

    MemorySlots slots() {
        return slots;
    }

    /** The kernel that the VM belongs to. */
    public Kernel kernel() {
        return calls.vm().kernel();
    }

    /** To be leased; a lease gives the number to share with a VMM. */
    public Fd fd() {
        return calls.vm();
    }

    // Interrupt controllers

    /**
     * PIC, IOAPIC and LAPICs in the kernel (x86), with the default routes GSI 0–15 → PIC and IOAPIC, 16–23 → IOAPIC.
     * Before any vCPU.
     *
     * @throws io.kvmirq.KernelException EEXIST with any irqchip present, full or split; ENOTTY on a kernel without one;
     *     EINVAL with vCPUs present
     */
    public void createIrqchip() {
        routes.becomeDefaults(() -> calls.createIrqchip());
    }

    /**
     * LAPICs in the kernel, PIC and IOAPIC left to the VMM, no routes. Before any vCPU.
     *
     * @param pins of the VMM's IOAPIC, 0–4096; the GSIs below are left to it
     * @throws io.kvmirq.KernelException EINVAL with more pins; EEXIST with any irqchip or vCPU present
     */
    public void createSplitIrqchip(int pins) {
        routes.leaveToPins(pins, () -> calls.createSplitIrqchip(pins));
    }

    /**
     * Makes vCPUs with ids above 255 reachable by messages; without it the kernel ignores the high bits of a destination
     * and delivers to the vCPU that the low 8 name.
     *
     * @throws io.kvmirq.KernelException EINVAL on a kernel without it
     */
    public void use32BitApicIds() {
        calls.use32BitApicIds();
    }

    /**
     * The state of the in-kernel IOAPIC.
     *
     * @throws io.kvmirq.KernelException ENXIO without the full irqchip
     */
    public IoapicState ioapic() {
        return calls.getIoapic();
    }

    /** Puts back what {@link #ioapic} gave, changed or not. */
    public void restore(IoapicState state) {
        calls.setIoapic(state);
    }

    /** The VM's GSI routing table. */
    public RouteTable routes() {
        return routes;
    }

    // Interrupts in

    /**
     * Makes each signal of {@code event} raise {@code gsi} once, edge-triggered, in the kernel. If {@code event} was
     * signalled before, one interrupt is raised now. Route {@code gsi} first: without a route signals are lost for ever.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EAGAIN before an ARM VGIC is initialised;
     *     EBUSY when {@code event} feeds a GSI already, since 6.17 also one of another VM
     */
    public Irqfd assignIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.edge(this, event, gsi);
    }

    /**
     * Makes a signal of {@code event} hold {@code gsi} high until the guest's EOI, which lowers it and signals
     * {@code resample}. A device still asserting its line then signals {@code event} again.
     *
     * @throws io.kvmirq.KernelException EINVAL without the full in-kernel irqchip; else as {@link #assignIrqfd}
     * @throws IllegalArgumentException if both are one eventfd, which would raise itself for ever
     */
    public Irqfd assignLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.level(this, event, resample, gsi);
    }

    /**
     * Sends a message now. Allocates nothing.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EPERM when a system call filter refuses the call
     */
    public MsiOutcome signal(MsiMessage message) {
        int result = calls.signalMsi(message);
        if (result < 0) {
            return MsiOutcome.NO_DESTINATION_MATCHED;
        }
        return result == 0 ? MsiOutcome.NOT_ACCEPTED : MsiOutcome.delivered(result);
    }

    /**
     * Drives a line from user space. Irqfds drive the same pins as other sources; a pin is high while any source is.
     * Allocates nothing.
     *
     * @throws io.kvmirq.KernelException ENXIO without in-kernel irqchip
     */
    public LineOutcome setLine(Gsi gsi, boolean high) {
        return LineOutcome.ofStatus(calls.setLine(gsi, high));
    }

    // Interrupts out

    /**
     * Signals {@code event} when the guest writes to {@code address}, without leaving the kernel. An address, length and
     * data taken once cannot be taken again.
     *
     * @throws io.kvmirq.KernelException EINVAL for a range that wraps; EEXIST when another one takes the same writes;
     *     ENOSPC when the VM's bus is full
     */
    public IoEventFd assignIoEventFd(IoAddress address, EventFd event) {
        return new IoEventFd(this, address, event);
    }

    // Devices

    /** Whether {@link #createDevice} could make one here; makes none. */
    public boolean supports(KvmDevice.Type type) {
        return calls.testDevice(type.number());
    }

    /** @throws io.kvmirq.KernelException ENODEV when this kernel has none; EBUSY when the VM has its one already */
    public KvmDevice createDevice(KvmDevice.Type type) {
        return new KvmDevice(calls, calls.createDevice(type.number()));
    }

    // vCPUs and memory

    /**
     * A vCPU of the calling thread, the only one that may use it.
     *
     * @throws io.kvmirq.KernelException EINVAL for an id beyond the limit; EEXIST for one that exists
     * @throws IllegalStateException on a virtual thread
     */
    public Vcpu createVcpu(VcpuId id) {
        return new Vcpu(this, id);
    }

    /**
     * Zeroed memory at a guest-physical address.
     *
     * @param guestAddress bytes, a multiple of 4096
     * @param length bytes, a multiple of 4096
     * @throws io.kvmirq.KernelException EINVAL misaligned; EEXIST overlapping
     * @throws MemorySlotsExhaustedException when all memory slots of the VM are used
     */
    public GuestMemory addMemory(long guestAddress, int length) {
        return new GuestMemory(this, guestAddress, length);
    }

    /** Whether {@link #assignLevelIrqfd} exists here; it also needs the full irqchip. */
    public boolean supportsResample() {
        return calls.supportsResample();
    }

    /** Refuses new calls; the last lease lets the VM go. A borrowed VM stays open. Idempotent, never fails. */
    @Override
    public void close() {
        calls.closeVm();
    }

    @Override
    public String toString() {
        return calls.vm().toString();
    }
}
